"""The loops over lines: hashes of paragraphs, similar lines inside one document, and texts put together again without
what was removed.
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode, mix, table_bits

_SEED, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_ZERO = np.uint64(0)
_NEWLINE, _SPACE, _DOT = 10, 32, 46
_SPACE_CLASS, _CLOSER_CLASS = 8, 2048  # of text/characters.py
_LIMIT = 0x40000
_ENDS = np.array([ord(c) for c in "!?。！？…】]\\"], np.int64)
_OPENS = np.array([ord(c) for c in "【["], np.int64)


@kernel
def line_hashes(data, offsets, minimum, hashes, starts):
    """Hash of every line of every text, stripped of ASCII space; 0 for one of fewer than ``minimum`` bytes, which is
    nobody's duplicate.

    ``starts[k]`` is where the lines of text k begin in ``hashes``.
    """
    n = 0
    for k in range(len(offsets) - 1):
        starts[k] = n
        begin = offsets[k]
        for i in range(offsets[k], offsets[k + 1] + 1):
            if i < offsets[k + 1] and data[i] != _NEWLINE:
                continue
            a, b = begin, i
            while a < b and data[a] <= _SPACE:
                a += 1
            while b > a and data[b - 1] <= _SPACE:
                b -= 1
            h = _ZERO
            if b - a >= minimum and b > a:
                h = _SEED
                for j in range(a, b):
                    h = (h ^ np.uint64(data[j])) * _PRIME
                h = mix(h)
            hashes[n] = h
            n += 1
            begin = i + 1
    starts[len(offsets) - 1] = n
    return n


@kernel
def without_lines(data, offsets, starts, gone, out, out_offsets):
    """Texts without the lines marked in ``gone``; a blank line is left out where it would follow another after a
    removal.
    """
    n = 0
    for k in range(len(offsets) - 1):
        out_offsets[k] = n
        begin, line = offsets[k], starts[k]
        removed, blank, first, emitted = False, True, n, 0
        for i in range(offsets[k], offsets[k + 1] + 1):
            if i < offsets[k + 1] and data[i] != _NEWLINE:
                continue
            empty = True
            for j in range(begin, i):
                if data[j] > _SPACE:
                    empty = False
                    break
            if gone[line]:
                removed = True
            elif not (empty and blank and removed):
                if emitted:
                    out[n] = _NEWLINE
                    n += 1
                emitted += 1
                for j in range(begin, i):
                    out[n] = data[j]
                    n += 1
                blank = empty
            line += 1
            begin = i + 1
        if removed:
            while n > first and out[n - 1] <= _SPACE:
                n -= 1
    out_offsets[len(offsets) - 1] = n


@kernel
def within(a, b, lines_begin, codes, limit, previous, current):
    """Whether the edit distance of lines ``a`` and ``b`` is at most ``limit``: Levenshtein in a band of ``2 * limit +
    1``.
    """
    a0, a1, b0, b1 = lines_begin[2 * a], lines_begin[2 * a + 1], lines_begin[2 * b], lines_begin[2 * b + 1]
    n, m = a1 - a0, b1 - b0
    if abs(n - m) > limit:
        return False
    far = limit + 1
    for j in range(min(m, limit) + 1):
        previous[j] = j
    if limit + 1 <= m:
        previous[limit + 1] = far
    for i in range(1, n + 1):
        low, high = max(1, i - limit), min(m, i + limit)
        current[low - 1] = i if low == 1 else far
        best = current[low - 1]
        for j in range(low, high + 1):
            cost = previous[j - 1] + (codes[a0 + i - 1] != codes[b0 + j - 1])
            if previous[j] + 1 < cost:
                cost = previous[j] + 1
            if current[j - 1] + 1 < cost:
                cost = current[j - 1] + 1
            current[j] = min(cost, far)
            best = min(best, current[j])
        if best > limit:
            return False
        if high < m:
            current[high + 1] = far
        for j in range(low - 1, min(high + 1, m) + 1):
            previous[j] = current[j]
    return previous[m] <= limit


@kernel
def similar_lines(data, offsets, flags, share, exact_below, out, out_offsets, removed_chars, removed_lines):
    """Texts without every line that is like an earlier one of the same text that stays.

    A line ends at a newline, at one of ``! ? 。 ！ ？ … 】 ] \\``, at a full stop that ends a sentence, or before
    ``【`` or ``[``. Two lines are alike when their characters, ends and white space around them left out, differ by at most
    ``share`` of the longer one's length in edits; lines of ``exact_below`` characters or fewer must be equal. The
    pre-filters of the released code (lengths, shared characters) follow from that bound, so only their saving is kept:
    candidates are found by length, and compared by character counts first.
    """  # noqa: E501
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    room = longest + 2
    codes, places = np.empty(room, np.int64), np.empty(room + 1, np.int64)
    cuts = np.empty(room, np.int64)  # code index at which each line begins
    content = np.empty(2 * room, np.int64)  # begin and end of each line's content, in codes
    heads, following = np.full(room, -1, np.int64), np.empty(room, np.int64)
    counts = np.zeros((room // (exact_below + 1) + 2, 64), np.int16)  # only lines longer than exact_below have one
    rows = np.empty(room, np.int64)
    previous, current = np.empty(room, np.int64), np.empty(room, np.int64)
    table = np.zeros(1 << table_bits(room), np.uint64)
    written = 0
    for k in range(len(offsets) - 1):
        out_offsets[k] = written
        # ---- characters and lines
        n, lines = 0, 0
        i = offsets[k]
        cut = True
        while i < offsets[k + 1]:
            places[n] = i
            code, i = decode(data, i)
            opens = False
            for o in _OPENS:
                opens |= code == o
            if cut or opens:
                cuts[lines] = n
                lines += 1
                cut = False
            codes[n] = code
            n += 1
            if code == _NEWLINE:
                cut = True
            elif code == _DOT:
                coming = _NEWLINE
                if i < offsets[k + 1]:
                    coming, _ = decode(data, i)
                cut = coming < _LIMIT and flags[coming] & (_SPACE_CLASS | _CLOSER_CLASS) != 0
            else:
                for e in _ENDS:
                    cut |= code == e
        places[n] = i
        cuts[lines] = n
        # ---- which lines stay
        bits = table_bits(lines + 1)
        mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
        table[: mask + 1] = _ZERO
        used = 0
        begin_copy = offsets[k]
        for line in range(lines):
            a, b = cuts[line], cuts[line + 1]
            while a < b and (codes[a] < _LIMIT and flags[codes[a]] & (_SPACE_CLASS | 16) != 0):
                a += 1
            while b > a and (codes[b - 1] < _LIMIT and flags[codes[b - 1]] & (_SPACE_CLASS | 16) != 0):
                b -= 1
            content[2 * line], content[2 * line + 1] = a, b
            size = b - a
            if size == 0:
                continue
            gone = False
            h = _SEED
            for j in range(a, b):
                h = (h ^ np.uint64(codes[j])) * _PRIME
            h = mix(h)
            slot = np.int64((h * _PRIME) >> shift)
            while table[slot] != _ZERO and table[slot] != h:
                slot = (slot + 1) & mask
            if table[slot] == h:
                gone = True
            elif size > exact_below:
                row = counts[used]
                row[:] = 0
                for j in range(a, b):
                    row[codes[j] & 63] += 1
                least, most = np.int64(np.ceil(size * (1 - share) - 1e-9)), np.int64(size / (1 - share) + 1e-9)
                for other_size in range(max(least, exact_below + 1), min(most, longest) + 1):
                    other = heads[other_size]
                    limit = np.int64(share * max(size, other_size) + 1e-9)
                    while other >= 0 and not gone:
                        apart = 0
                        for c in range(64):
                            apart += abs(row[c] - counts[rows[other], c])
                        if apart <= 2 * limit:
                            gone = within(other, line, content, codes, limit, previous, current)
                        other = following[other]
                    if gone:
                        break
            if gone:
                for j in range(begin_copy, places[cuts[line]]):
                    out[written] = data[j]
                    written += 1
                begin_copy = places[cuts[line + 1]]
                removed_lines[k] += 1
                removed_chars[k] += cuts[line + 1] - cuts[line]
                if codes[cuts[line + 1] - 1] == _NEWLINE:  # the line's break stays
                    begin_copy -= 1
                continue
            table[slot] = h
            if size > exact_below:
                rows[line] = used
                used += 1
                following[line] = heads[size]
                heads[size] = line
        for line in range(lines):
            heads[content[2 * line + 1] - content[2 * line]] = -1
        for j in range(begin_copy, offsets[k + 1]):
            out[written] = data[j]
            written += 1
    out_offsets[len(offsets) - 1] = written
