"""The loops of substring de-duplication: hash every window of a fixed number of characters, cut out those that occurred
before.
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode, mix

_BASE = np.uint64(0x9E3779B97F4A7C15)
_ONE, _ZERO, _S32, _LOW = np.uint64(1), np.uint64(0), np.uint64(32), np.uint64(0xFFFF)


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
def spread(data, offsets, length, partitions, one_in, seeds, first_character, hashes, places, ends):
    """Windows of some texts, partition by partition, and in each in their order.

    Of all windows, told by their hashes, one in ``one_in`` counts; ``seeds`` (uint64, one a text) keeps windows of
    texts apart that have different ones. ``hashes`` and ``places`` (number of the window's first character, counted
    from ``first_character``) are filled so that partition p ends at ``ends[p]``. Returns the number of windows and of
    characters.
    """
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    characters, found = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint64)
    counts = np.zeros(partitions, np.int64)
    for k in range(len(offsets) - 1):
        n, _ = window_hashes(data, offsets[k], offsets[k + 1], length, characters, found)
        for i in range(n):
            h = found[i] ^ seeds[k]
            if np.int64((h >> _S32) & _LOW) % one_in == 0:
                counts[np.int64(h & _LOW) % partitions] += 1
    total = 0
    fill = np.empty(partitions, np.int64)
    for p in range(partitions):
        fill[p] = total
        total += counts[p]
        ends[p] = total
    place = first_character
    for k in range(len(offsets) - 1):
        n, size = window_hashes(data, offsets[k], offsets[k + 1], length, characters, found)
        for i in range(n):
            h = found[i] ^ seeds[k]
            if np.int64((h >> _S32) & _LOW) % one_in == 0:
                p = np.int64(h & _LOW) % partitions
                hashes[fill[p]] = h
                places[fill[p]] = place + i
                fill[p] += 1
        place += size
    return total, place - first_character


@kernel
def mark(places, marks):
    """Set the bit of every place."""
    for i in range(len(places)):
        marks[places[i] >> 3] |= np.uint8(1 << (places[i] & 7))


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
