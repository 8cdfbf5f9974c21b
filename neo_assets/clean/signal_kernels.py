"""The loops that count: repetition, vocabulary and lists, over the tokens, lines and sentences that ``text/kernels.py``
finds.

Definitions of the repetition measures are those of Gopher (arXiv 2112.11446, table A1) as datatrove computes them: an
n-gram that was seen before counts with all its characters and is skipped over; a top n-gram counts with every
occurrence, if it has more than one.
"""

from __future__ import annotations

import math

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import LENGTH, LINES, PARAGRAPHS, SENTENCES, WORDS, decode, mix, scan, table_bits

_SPACE_CLASS = 8  # of text/characters.py
_SEED, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_LIMIT = 0x40000


@kernel
def duplicates(hashes, chars, n, table):
    """(elements, characters) of those of ``hashes[:n]`` that were there before. ``table``: uint64, at least twice ``n``
    long.
    """
    bits = table_bits(n)
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    table[: mask + 1] = _ZERO
    elements = characters = 0
    for i in range(n):
        key = hashes[i]
        slot = np.int64((key * _PRIME) >> shift)
        while table[slot] != _ZERO and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == key:
            elements += 1
            characters += chars[i]
        else:
            table[slot] = key
    return elements, characters


@kernel
def repeated(tokens, token_chars, n, length, grams, candidates, places, table, where, times, out):
    """Shares of a text's characters in its most frequent 2-, 3- and 4-gram and in 5- to 10-grams seen before: 9 values
    into ``out``.

    An (n+1)-gram can only repeat where the n-grams at its own and at the next position do, so each pass looks at what
    the one before left: after the 2-grams usually a small part of the text.
    """
    out[:] = 0.0
    if n < 2 or length == 0:
        return
    left = n - 1
    for i in range(left):
        candidates[i] = i
        grams[i] = tokens[i]
    for size in range(2, 11):
        bits = table_bits(left)
        mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
        table[: mask + 1] = _ZERO
        kept = 0
        if size <= 4:
            best = first = 0
            for c in range(left):
                i = candidates[c]
                grams[i] = grams[i] * _MULTIPLIER + tokens[i + size - 1]
                key = grams[i] | _ONE
                slot = np.int64((key * _PRIME) >> shift)
                while table[slot] != _ZERO and table[slot] != key:
                    slot = (slot + 1) & mask
                if table[slot] == _ZERO:
                    table[slot] = key
                    where[slot] = i
                    times[slot] = 1
                else:
                    times[slot] += 1
                    if times[slot] > best or (times[slot] == best and where[slot] < first):
                        best, first = times[slot], where[slot]
                places[c] = slot
            if best < 2:
                return
            width = size - 1
            for j in range(first, first + size):
                width += token_chars[j]
            out[size - 2] = width * best / length
            for c in range(left):
                if times[places[c]] > 1:
                    candidates[kept] = candidates[c]
                    kept += 1
        else:
            found = free_from = 0
            for c in range(left):
                i = candidates[c]
                grams[i] = grams[i] * _MULTIPLIER + tokens[i + size - 1]
                if i < free_from:
                    continue
                key = grams[i] | _ONE
                slot = np.int64((key * _PRIME) >> shift)
                while table[slot] != _ZERO and table[slot] != key:
                    slot = (slot + 1) & mask
                if table[slot] == _ZERO:
                    table[slot] = key
                else:
                    for j in range(i, i + size):
                        found += token_chars[j]
                    free_from = i + size
            out[size - 2] = found / length
            kept = left
        left = 0
        for c in range(kept - 1):
            if candidates[c + 1] == candidates[c] + 1 and candidates[c] + size < n:
                candidates[left] = candidates[c]
                left += 1
        if left == 0:
            return


@kernel
def vocabulary(tokens, n, table, times, slots, out):
    """(distinct tokens, entropy of their frequencies in nats) into ``out``; summed in order of first occurrence."""
    bits = table_bits(n)
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    table[: mask + 1] = _ZERO
    distinct = 0
    for i in range(n):
        key = tokens[i]
        slot = np.int64((key * _PRIME) >> shift)
        while table[slot] != _ZERO and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == _ZERO:
            table[slot] = key
            times[slot] = 1
            slots[distinct] = slot
            distinct += 1
        else:
            times[slot] += 1
    total = 0.0
    for i in range(distinct):
        count = times[slots[i]]
        if count > 1:
            total += count * math.log(count)
    out[0] = distinct
    out[1] = math.log(n) - total / n if n else 0.0


@kernel
def listed(tokens, n, table, bits, seen, out):
    """(occurrences, distinct entries) of tokens that are in the list ``table`` (see :func:`hash_list`) into ``out``."""
    out[0] = out[1] = 0
    seen[:] = False
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    for i in range(n):
        key = tokens[i]
        slot = np.int64((key * _PRIME) >> shift)
        while table[slot] != _ZERO:
            if table[slot] == key:
                out[0] += 1
                if not seen[slot]:
                    seen[slot] = True
                    out[1] += 1
                break
            slot = (slot + 1) & mask


@kernel
def phrases(tokens, n, table, bits, longest):
    """Occurrences of the phrases in ``table`` (hashes of 1 to ``longest`` tokens, see :func:`phrase_hash`)."""
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    found = 0
    for i in range(n):
        h = _SEED
        for size in range(min(longest, n - i)):
            h = (h ^ tokens[i + size]) * _PRIME
            key = mix(h)
            slot = np.int64((key * _PRIME) >> shift)
            while table[slot] != _ZERO:
                if table[slot] == key:
                    found += 1
                    break
                slot = (slot + 1) & mask
    return found


@kernel
def character_frequencies(data, begin, end, flags, times, distinct_codes, out):
    """(distinct, entropy in nats) of the characters that are no space into ``out``. ``times``: int32 (0x110000,), zero
    before and after.
    """
    n = distinct = 0
    i = begin
    while i < end:
        code, i = decode(data, i)
        if code < _LIMIT and flags[code] & _SPACE_CLASS:
            continue
        n += 1
        if times[code] == 0:
            distinct_codes[distinct] = code
            distinct += 1
        times[code] += 1
    total = 0.0
    for j in range(distinct):
        count = times[distinct_codes[j]]
        times[distinct_codes[j]] = 0
        if count > 1:
            total += count * math.log(count)
    out[0] = distinct
    out[1] = math.log(n) - total / n if n else 0.0


@kernel
def measure_texts(
    data,
    offsets,
    flags,
    fold,
    known,
    semicolons_end,
    stop_table,
    stop_bits,
    bad_table,
    bad_bits,
    bad_longest,
    counts,
    repetition,
    copies,
    words,
    lists,
    letters,
):
    """Everything of every text. Rows are texts: ``counts`` int64 (n, len(COUNTS)); ``repetition`` float64 (n, 9), see
    :func:`repeated`; ``copies`` int64 (n, 6): duplicate lines, paragraphs, sentences, each as elements and characters;
    ``words`` float64 (n, 2): distinct tokens and their entropy; ``lists`` int64 (n, 3): stop words, distinct stop
    words, bad phrases; ``letters`` float64 (n, 2), or (0, 2) to leave out: distinct characters and their entropy.
    """
    n = len(offsets) - 1
    longest = 0
    for k in range(n):
        longest = max(longest, offsets[k + 1] - offsets[k])
    room = longest // 2 + 2  # a token, a line, a sentence take two bytes at least, their separator counted
    table_room = 1 << table_bits(room)
    tokens, lines, paragraphs, sentences, grams = (
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
    )
    token_chars, line_chars, paragraph_chars, sentence_chars = (
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
    )
    table, where, times = (
        np.empty(table_room, np.uint64),
        np.empty(table_room, np.int32),
        np.empty(table_room, np.int32),
    )
    slots, candidates, places = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    seen = np.zeros(len(stop_table), np.bool_)
    frequencies = np.zeros(0x110000 if len(letters) else 0, np.int32)
    distinct_codes = np.empty(longest + 1 if len(letters) else 0, np.int32)
    for k in range(n):
        begin, end = offsets[k], offsets[k + 1]
        scan(
            data,
            begin,
            end,
            flags,
            fold,
            known,
            semicolons_end,
            tokens,
            token_chars,
            lines,
            line_chars,
            paragraphs,
            paragraph_chars,
            sentences,
            sentence_chars,
            counts[k],
        )
        n_tokens = counts[k, WORDS]
        repeated(
            tokens,
            token_chars,
            n_tokens,
            counts[k, LENGTH],
            grams,
            candidates,
            places,
            table,
            where,
            times,
            repetition[k],
        )
        copies[k, 0], copies[k, 1] = duplicates(lines, line_chars, counts[k, LINES], table)
        copies[k, 2], copies[k, 3] = duplicates(paragraphs, paragraph_chars, counts[k, PARAGRAPHS], table)
        copies[k, 4], copies[k, 5] = duplicates(sentences, sentence_chars, counts[k, SENTENCES], table)
        vocabulary(tokens, n_tokens, table, times, slots, words[k])
        listed(tokens, n_tokens, stop_table, stop_bits, seen, lists[k])
        lists[k, 2] = phrases(tokens, n_tokens, bad_table, bad_bits, bad_longest) if bad_longest else 0
        if len(letters):
            character_frequencies(data, begin, end, flags, frequencies, distinct_codes, letters[k])
