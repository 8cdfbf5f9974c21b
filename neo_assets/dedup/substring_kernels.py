"""The loops of substring de-duplication: hash every window of a fixed number of characters, find the ones that occurred
before.

Windows are spread over 256 buckets by their hash before they are looked up, so that each bucket's table stays in the
processor's cache; looked up one by one in a table of the whole corpus, every window would wait for memory (measured: 3
to 4 times as long).
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode, mix

_BASE, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_ONE, _ZERO, _S56 = np.uint64(1), np.uint64(0), np.uint64(56)
BUCKETS = 256


@kernel
def window_hashes(data, begin, end, length, characters, out):
    """Hashes of all windows of ``length`` characters of one text into ``out``; returns how many. ``characters`` is
    scratch.
    """
    power = _ONE
    for _ in range(length - 1):
        power *= _BASE
    h = _ZERO
    n = 0
    i = begin
    while i < end:
        code, i = decode(data, i)
        characters[n] = code
        if n >= length:
            h -= power * np.uint64(characters[n - length] + 1)
        h = h * _BASE + np.uint64(code + 1)
        n += 1
        if n >= length:
            out[n - length] = mix(h)
    return max(0, n - length + 1), n


@kernel
def spread(data, offsets, length, passes, index, first_character, hashes, places, ends):
    """All windows of a shard whose hash belongs to pass ``index`` of ``passes``, bucket by bucket.

    ``hashes`` and ``places`` (number of the window's first character, counted from ``first_character``) are filled so
    that bucket b ends at ``ends[b]``. Returns the number of windows and of characters.
    """
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    characters, found = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint64)
    counts = np.zeros(BUCKETS, np.int64)
    for k in range(len(offsets) - 1):
        n, _ = window_hashes(data, offsets[k], offsets[k + 1], length, characters, found)
        for i in range(n):
            if np.int64(found[i] & np.uint64(0xFFFF)) % passes == index:
                counts[np.int64(found[i] >> _S56)] += 1
    total = 0
    fill = np.empty(BUCKETS, np.int64)
    for b in range(BUCKETS):
        fill[b] = total
        total += counts[b]
        ends[b] = total
    place = first_character
    for k in range(len(offsets) - 1):
        n, size = window_hashes(data, offsets[k], offsets[k + 1], length, characters, found)
        for i in range(n):
            h = found[i]
            if np.int64(h & np.uint64(0xFFFF)) % passes == index:
                b = np.int64(h >> _S56)
                hashes[fill[b]] = h
                places[fill[b]] = place + i
                fill[b] += 1
        place += size
    return total, place - first_character


@kernel
def mark_repeats(hashes, places, table, marks):
    """Set the bit of every window whose hash was in ``table`` already, and put the others in. Windows come in corpus
    order.

    ``table``: uint64, a power of two long, zero at the bucket's first call and at most half full at its last.
    """
    mask = len(table) - 1
    bits = 0
    while (1 << bits) < len(table):
        bits += 1
    shift = np.uint64(64 - bits)
    repeats = 0
    for i in range(len(hashes)):
        key = hashes[i]
        slot = np.int64((key * _PRIME) >> shift)
        while table[slot] != _ZERO and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == key:
            marks[places[i] >> 3] |= np.uint8(1 << (places[i] & 7))
            repeats += 1
        else:
            table[slot] = key
    return repeats


@kernel
def without_repeats(data, offsets, length, marks, first_character, out, out_offsets, removed):
    """Texts without the characters of marked windows; ``removed[k]`` says how many text k lost.

    Where white space is cut out between two characters that are none, one of it stays, a line break if there was one:
    otherwise the words on both sides would become one that nobody wrote.
    """
    written = 0
    place = first_character
    for k in range(len(offsets) - 1):
        out_offsets[k] = written
        gone_until = 0
        gap = 0  # of the cut before this place: 1 white space, 2 a line break
        after_space = True
        i = offsets[k]
        while i < offsets[k + 1]:
            begin = i
            c, i = decode(data, i)
            space = c == 32 or (9 <= c <= 13) or c == 0xA0 or c == 0x3000
            if marks[place >> 3] & np.uint8(1 << (place & 7)):
                gone_until = place + length
            if place < gone_until:
                removed[k] += 1
                if space:
                    gap = max(gap, 2 if c == 10 else 1)
            else:
                if gap and not space and not after_space:
                    out[written] = 10 if gap == 2 else 32
                    written += 1
                    removed[k] -= 1
                gap = 0
                after_space = space
                for j in range(begin, i):
                    out[written] = data[j]
                    written += 1
            place += 1
    out_offsets[len(offsets) - 1] = written
    return place - first_character
