"""The loops of de-duplication: shingles and MinHash signatures, and hashes of lines.

A shingle of characters is hashed by a rolling polynomial, so that a text of n characters costs n steps whatever the
shingle's length; a signature is, per function, the smallest of ``a * h + b`` over all 32-bit shingle hashes ``h``.
Functions are looped over outside and shingles inside: the inner loop is then a plain minimum over an array, sixteen at
a time on a machine with AVX-512.
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode, mix

_SPACE_CLASS, _PUNCTUATION_CLASS = 8, 16  # of text/characters.py
_LIMIT = 0x40000
_UNSEEN, _TAGS = 0, 0xE0000
_BASE = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0xD6E8FEB86659FD93)
_ONE, _ZERO, _S32 = np.uint64(1), np.uint64(0), np.uint64(32)
_SPACE = ord(" ")


@kernel
def normalised(data, begin, end, flags, fold, out):
    """Folded characters of a text without punctuation, white space runs as one space: into ``out``;
    returns how many.
    """
    n = 0
    pending = False
    i = begin
    while i < end:
        code, i = decode(data, i)
        kind = np.int64(flags[code]) if code < _LIMIT else 0
        if kind & _SPACE_CLASS:
            pending = n > 0
            continue
        folded = np.int64(fold[code]) if code < _LIMIT else code
        if kind & _PUNCTUATION_CLASS or folded == _UNSEEN or code >= _TAGS:
            continue
        if pending:
            out[n] = _SPACE
            n += 1
            pending = False
        out[n] = folded
        n += 1
    return n


@kernel
def character_shingles(characters, n, length, out):
    """32-bit hashes of all runs of ``length`` of the first ``n`` characters into ``out``; a shorter text is one
    shingle. Returns how many.
    """
    power = _ONE
    for _ in range(length - 1):
        power *= _BASE
    h = _ZERO
    count = 0
    for i in range(n):
        if i >= length:
            h -= power * np.uint64(characters[i - length] + 1)
        h = h * _BASE + np.uint64(characters[i] + 1)
        if i >= length - 1:
            out[count] = np.uint32(mix(h) >> _S32)
            count += 1
    if count == 0:
        out[0] = np.uint32(mix(h) >> _S32)
        count = 1
    return count


@kernel
def token_shingles(tokens, n, length, out):
    """The same for runs of ``length`` tokens."""
    count = 0
    for i in range(max(1, n - length + 1)):
        h = _BASE
        for j in range(i, min(i + length, n)):
            h = (h ^ tokens[j]) * _PRIME
        out[count] = np.uint32(mix(h) >> _S32)
        count += 1
    return count


@kernel
def minima(shingles, n, multipliers, offsets, out):
    """Signature of the set of the first ``n`` shingles: ``out`` uint32 (functions,). Four functions share each load of
    a shingle.
    """
    count = len(multipliers)
    for f in range(0, count - 3, 4):
        a0, a1, a2, a3 = multipliers[f], multipliers[f + 1], multipliers[f + 2], multipliers[f + 3]
        b0, b1, b2, b3 = offsets[f], offsets[f + 1], offsets[f + 2], offsets[f + 3]
        m0 = m1 = m2 = m3 = np.uint32(0xFFFFFFFF)
        for i in range(n):
            h = shingles[i]
            m0, m1 = min(m0, np.uint32(h * a0 + b0)), min(m1, np.uint32(h * a1 + b1))
            m2, m3 = min(m2, np.uint32(h * a2 + b2)), min(m3, np.uint32(h * a3 + b3))
        out[f], out[f + 1], out[f + 2], out[f + 3] = m0, m1, m2, m3
    for f in range(count - count % 4, count):
        best = np.uint32(0xFFFFFFFF)
        for i in range(n):
            best = min(best, np.uint32(shingles[i] * multipliers[f] + offsets[f]))
        out[f] = best


@kernel
def character_signatures(data, offsets, flags, fold, length, multipliers, adders, out):
    """Signatures of all texts from shingles of ``length`` characters: ``out`` uint32 (texts, functions)."""
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    characters, shingles = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    for k in range(len(offsets) - 1):
        n = normalised(data, offsets[k], offsets[k + 1], flags, fold, characters)
        minima(shingles, character_shingles(characters, n, length, shingles), multipliers, adders, out[k])


@kernel
def token_signatures(tokens, starts, length, multipliers, adders, out):
    """Signatures of all texts from shingles of ``length`` tokens (see ``text.kernels.tokenise``)."""
    longest = 0
    for k in range(len(starts) - 1):
        longest = max(longest, starts[k + 1] - starts[k])
    shingles = np.empty(longest + 1, np.uint32)
    for k in range(len(starts) - 1):
        part = tokens[starts[k] : starts[k + 1]]
        minima(shingles, token_shingles(part, len(part), length, shingles), multipliers, adders, out[k])


@kernel
def band_keys(signatures, begin, rows, out):
    """One 64-bit key per document for the band of ``rows`` functions that begins at ``begin``."""
    for k in range(len(signatures)):
        h = _BASE
        for j in range(begin, begin + rows):
            h = (h ^ np.uint64(signatures[k, j])) * _PRIME
            h ^= h >> _S32
        out[k] = mix(h)


@kernel
def root(parents, i):
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@kernel
def join_equal(keys, order, parents):
    """Union-find: documents of equal keys come into one cluster. ``order`` sorts ``keys``."""
    joined = 0
    for i in range(1, len(order)):
        if keys[order[i]] == keys[order[i - 1]]:
            a, b = root(parents, order[i]), root(parents, order[i - 1])
            if a != b:
                parents[max(a, b)] = min(a, b)
                joined += 1
    return joined


@kernel
def character_sets(data, offsets, flags, fold, length, out, ends):
    """The set of every text's shingles, sorted, one after another: ``out`` uint32; ``ends`` int64 (texts,)."""
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    characters, shingles = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    n = 0
    for k in range(len(offsets) - 1):
        count = character_shingles(
            characters, normalised(data, offsets[k], offsets[k + 1], flags, fold, characters), length, shingles
        )
        n = append_set(shingles, count, out, n)
        ends[k] = n


@kernel
def token_sets(tokens, starts, length, out, ends):
    """The same for runs of ``length`` tokens."""
    longest = 0
    for k in range(len(starts) - 1):
        longest = max(longest, starts[k + 1] - starts[k])
    shingles = np.empty(longest + 1, np.uint32)
    n = 0
    for k in range(len(starts) - 1):
        part = tokens[starts[k] : starts[k + 1]]
        n = append_set(shingles, token_shingles(part, len(part), length, shingles), out, n)
        ends[k] = n


@kernel
def append_set(shingles, count, out, n):
    ordered = np.sort(shingles[:count])
    for i in range(count):
        if i == 0 or ordered[i] != ordered[i - 1]:
            out[n] = ordered[i]
            n += 1
    return n


@kernel
def similarity(sets, a, a_end, b, b_end):
    """Jaccard similarity of two sorted runs of ``sets``."""
    left, right = a_end - a, b_end - b
    both = 0
    while a < a_end and b < b_end:
        if sets[a] == sets[b]:
            both += 1
            a += 1
            b += 1
        elif sets[a] < sets[b]:
            a += 1
        else:
            b += 1
    return both / max(1, left + right - both)


@kernel
def join_similar(keys, order, parents, sets, ends, minimum, most):
    """Union-find of documents of equal keys that are similar indeed. ``order`` sorts ``keys``, documents of one key by
    identifier; each is compared with ``most`` before it.
    """
    compared = 0
    for i in range(1, len(order)):
        j = i - 1
        while j >= 0 and i - j <= most and keys[order[j]] == keys[order[i]]:
            x, y = order[i], order[j]
            a, b = root(parents, x), root(parents, y)
            if a != b:
                compared += 1
                x_begin, y_begin = ends[x - 1] if x else 0, ends[y - 1] if y else 0
                if similarity(sets, x_begin, ends[x], y_begin, ends[y]) >= minimum:
                    parents[max(a, b)] = min(a, b)
            j -= 1
    return compared


@kernel
def keep_dissimilar(order, cluster, sets, ends, minimum, most, keeper, value):
    """Of each cluster, in the order of preference: a document goes if it is similar to one that stays, its ``keeper``,
    with that similarity as its ``value``; it is compared with ``most`` of those at least.
    """
    first = 0
    kept = np.empty(most, np.int64)
    for i in range(len(order)):
        x = order[i]
        if i == 0 or cluster[x] != cluster[order[i - 1]]:
            first = 0
        keeper[x], value[x] = x, 1.0
        begin = ends[x - 1] if x else 0
        for k in range(min(first, most)):
            y = kept[k]
            alike = similarity(sets, begin, ends[x], ends[y - 1] if y else 0, ends[y])
            if alike >= minimum:
                keeper[x], value[x] = y, alike
                break
        if keeper[x] == x:
            if first < most:
                kept[first] = x
            first += 1


@kernel
def roots(parents):
    for i in range(len(parents)):
        parents[i] = root(parents, i)
