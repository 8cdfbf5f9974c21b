"""The compiled loops of the trace index: where units begin, which suffixes are kept, and searches among them.

A *unit* is a word (a run of letters, digits and marks) or one Chinese or Japanese character. A suffix array of the
UTF-8 bytes is kept for the places where a unit begins alone; everything is compared by bytes, so what is found is
verbatim. A match is *whole* where no word is cut: neither in what is asked for, nor in the document it stands in.
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel
from neo_assets.text.text_kernels import decode

# Classes of characters.py; a compiled loop cannot look into another module without hiding it from the cache key.
WORD, IDEOGRAPH = 1, 128
_LIMIT = 0x40000
STEP, HEAD = 64, 24
"""Of each STEP-th suffix, the first HEAD bytes stand in a table by themselves: 18 MB for 49 million."""


@kernel
def kind_of(code, flags):
    """0: no part of a unit. 1: part of a word. 2: a unit by itself."""
    kind = np.int64(flags[code]) if code < _LIMIT else 0
    if kind & IDEOGRAPH:
        return 2
    return 1 if kind & WORD else 0


@kernel
def mark_units(data, flags, bits):
    """Sets the bit of every byte that a unit begins with; returns how many there are. ``bits``: uint8, one of eight
    bytes of ``data``.
    """
    i, inside, count = 0, False, 0
    while i < len(data):
        code, following = decode(data, i)
        kind = kind_of(code, flags)
        if kind == 2 or (kind == 1 and not inside):
            bits[i >> 3] |= np.uint8(1 << (i & 7))
            count += 1
        inside = kind == 1
        i = following
    return count


@kernel
def units(data, flags, begins, ends, alone):
    """Fills (first byte, byte after the last, whether it is a character by itself) of every unit; returns how many."""
    i, inside, count = 0, False, 0
    while i < len(data):
        code, following = decode(data, i)
        kind = kind_of(code, flags)
        if kind == 2 or (kind == 1 and not inside):
            begins[count] = i
            alone[count] = kind == 2
            count += 1
        if kind:
            ends[count - 1] = following
        inside = kind == 1
        i = following
    return count


@kernel
def keep_marked(suffixes, bits, out):
    """The suffixes whose bit is set, in their order; returns how many."""
    count = 0
    for i in range(len(suffixes)):
        at = suffixes[i]
        if bits[at >> 3] >> np.uint8(at & 7) & np.uint8(1):
            out[count] = at
            count += 1
    return count


@kernel
def write_heads(text, entries, out):
    """The first bytes of each STEP-th suffix; zeros after the end of the text."""
    for k in range(len(out)):
        at = np.int64(entries[k * STEP])
        for i in range(min(HEAD, len(text) - at)):
            out[k, i] = text[at + i]


@kernel
def common(text, position, query, at, end):
    """Bytes that the text from ``position`` on and ``query[at:end]`` have in common."""
    limit = min(len(text) - position, end - at)
    i = 0
    while i < limit and text[position + i] == query[at + i]:
        i += 1
    return i


@kernel
def _before(text, position, query, at, end, above):
    """Whether a suffix stands before the bound: less than the pattern, or (above) beginning with it."""
    equal = common(text, position, query, at, end)
    if equal == end - at:
        return above
    return position + equal == len(text) or text[position + equal] < query[at + equal]


@kernel
def bound_in(text, entries, query, at, end, above, low, high):
    """The first of ``entries[low:high]`` that does not stand before the bound, ``high`` if all do."""
    while low < high:
        middle = (low + high) // 2
        if _before(text, np.int64(entries[middle]), query, at, end, above):
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def bound(text, entries, heads, query, at, end, above):
    """The same among all entries: heads first, which stand together in memory, then STEP suffixes of one of them."""
    low, high = 0, len(heads)
    while low < high:
        middle = (low + high) // 2
        limit = min(HEAD, end - at)
        i = 0
        while i < limit and heads[middle, i] == query[at + i]:
            i += 1
        if i < limit:
            before = heads[middle, i] < query[at + i]
        elif end - at <= HEAD:
            before = above
        else:
            before = _before(text, np.int64(entries[middle * STEP]), query, at, end, above)
        if before:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    return bound_in(text, entries, query, at, end, above, (low - 1) * STEP + 1, min(low * STEP, len(entries)))


@kernel
def _is_whole(text, flags, at, ends_alone):
    """Whether no word goes on at this byte of the text, where what stands before it ends with a unit."""
    if ends_alone or at >= len(text):
        return True
    code, _ = decode(text, at)
    return kind_of(code, flags) != 1


@kernel
def _group_end(text, entries, offset, low, high):
    """The end of those entries of ``[low, high)`` whose character at ``offset`` is that of the first; all are equal up
    to there.
    """
    at = np.int64(entries[low]) + offset
    if at >= len(text):
        return low + 1
    _, following = decode(text, at)
    begin, step = low, 1
    while low + step < high and common(text, np.int64(entries[low + step]) + offset, text, at, following) == (
        following - at
    ):
        begin = low + step
        step *= 2
    end = min(low + step, high)
    begin += 1
    while begin < end:
        middle = (begin + end) // 2
        if common(text, np.int64(entries[middle]) + offset, text, at, following) == following - at:
            begin = middle + 1
        else:
            end = middle
    return begin


@kernel
def occurrences(text, entries, heads, flags, query, at, end, ends_alone, out):
    """How often ``query[at:end]``, whose ends are ends of units, stands whole in the text; the first of these places
    fill ``out`` as far as it reaches. With an empty ``out`` it ends at the first: (0 or 1).
    """
    low = bound(text, entries, heads, query, at, end, False)
    high = bound(text, entries, heads, query, at, end, True)
    count = 0
    while low < high:
        following = high if ends_alone else _group_end(text, entries, end - at, low, high)
        if _is_whole(text, flags, np.int64(entries[low]) + (end - at), ends_alone):
            if len(out) == 0:
                return 1
            for i in range(low, min(following, low + len(out) - count)):
                out[count + i - low] = entries[i]
            count += following - low
        low = following
    return count


@kernel
def longest(text, entries, heads, flags, query, begins, ends, alone, first, last, out):
    """Fills ``out[i]``, for units ``first`` to ``last`` of a query: how many units from ``i`` on stand whole in the
    text at one place.
    """
    nothing = np.empty(0, np.uint32)
    size = len(query)
    for i in range(first, last):
        at = begins[i]
        place = bound(text, entries, heads, query, at, size, False)
        equal = 0
        for near in (place - 1, place):
            if 0 <= near < len(entries):
                equal = max(equal, common(text, np.int64(entries[near]), query, at, size))
        reached = i
        while reached < len(ends) and ends[reached] <= at + equal:
            reached += 1
        if reached > i:
            end = ends[reached - 1]
            following = end
            if end < size:
                _, following = decode(query, end)
            # Where the character after it is the same in both, no word is cut in either.
            undecided = not alone[reached - 1] and (end == size or following > at + equal)
            if undecided and not occurrences(text, entries, heads, flags, query, at, end, False, nothing):
                reached -= 1
        out[i] = reached - i
