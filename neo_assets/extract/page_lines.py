"""Chosen blocks as plain text, as a browser shows them: white space folded, breaks and rows kept, code as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.extract.page_blocks import Blocks
from neo_assets.web.flat_page import TAG, FlatPage

_CLOSE = np.zeros(len(TAG) + 1, np.uint8)
for _name in ("li", "tr", "td", "th", "dd", "dt", "option", "figcaption", "caption", "thead", "tbody", "tfoot"):
    _CLOSE[TAG[_name]] = 1
"""Blocks that follow each other without an empty line."""


def text_of(page: FlatPage, blocks: Blocks, chosen: NDArray[np.bool_]) -> str:
    """The text of the chosen blocks in document order."""
    written = _write(
        page.source, page.tag, page.kind, page.start, page.stop, page.marks, blocks.first, blocks.end, blocks.element,
        chosen, _CLOSE,
    )  # fmt: skip
    return bytes(written).decode("utf-8", "replace")


def characters(page: FlatPage, blocks: Blocks, chosen: NDArray[np.bool_]) -> int:
    """Characters in the chosen blocks that are no white space, counted from the page and not from what was written."""
    return int(_count(page.source, page.kind, page.start, page.stop, blocks.first, blocks.end, chosen))


@kernel
def _count(source, kind, start, stop, first, end, chosen):  # type: ignore[no-untyped-def]
    found = 0
    for b in range(first.size):
        if not chosen[b]:
            continue
        for k in range(first[b], end[b]):
            if kind[k] != 0:
                continue
            i = start[k]
            while i < stop[k]:
                c = source[i]
                if c == 38:
                    found += source[i + 1] != 110  # &nbsp; is white space, &amp; &lt; &gt; are a character
                    while i + 1 < stop[k] and source[i] != 59:
                        i += 1
                elif c < 128:
                    found += not (9 <= c <= 13 or 28 <= c <= 32)
                elif c >= 192:
                    found += not _blank(source, i, c)
                i += 1
    return found


@kernel
def _blank(source, i, c):  # type: ignore[no-untyped-def]
    """Whether a character of several bytes is white space."""
    if c == 194:
        return source[i + 1] == 160 or source[i + 1] == 133
    if c == 227:
        return source[i + 1] == 128 and source[i + 2] == 128
    if c == 226:
        return (
            source[i + 1] == 128
            and (source[i + 2] <= 138 or source[i + 2] == 168 or source[i + 2] == 169 or source[i + 2] == 175)
        ) or (source[i + 1] == 129 and source[i + 2] == 159)
    return c == 225 and source[i + 1] == 154 and source[i + 2] == 128


@kernel
def _write(source, tag, kind, start, stop, marks, first, end, element, chosen, close):  # type: ignore[no-untyped-def]
    room = 16
    for b in range(first.size):
        if chosen[b]:
            room += 4
            for k in range(first[b], end[b]):
                room += stop[k] - start[k] + 1
    out = np.zeros(room, np.uint8)
    n = 0
    closed = False
    for b in range(first.size):
        if not chosen[b]:
            continue
        tight = element[b] >= 0 and close[tag[element[b]]] == 1
        if n:
            out[n] = 10
            n += 1
            if not (tight and closed):
                out[n] = 10
                n += 1
        closed = tight
        begin = n
        space = False  # white space that is written before the next character
        for k in range(first[b], end[b]):
            if kind[k] == 1:
                while n > begin and (out[n - 1] == 32 or out[n - 1] == 9):
                    n -= 1
                if n > begin:
                    out[n] = 10
                    n += 1
                space = False
                continue
            if kind[k] == 2:
                if n > begin and out[n - 1] != 10:
                    while n > begin and out[n - 1] == 32:
                        n -= 1
                    out[n] = 9
                    n += 1
                space = False
                continue
            kept = marks[k] & 2
            i = start[k]
            while i < stop[k]:
                c = source[i]
                if c == 32 or c == 10 or c == 9 or c == 13 or c == 12:
                    if kept:
                        if n > begin or (c != 10 and c != 13):  # code begins on its first line that is not empty
                            out[n] = c
                            n += 1
                    else:
                        space = True
                    i += 1
                    continue
                if space:
                    if n > begin and out[n - 1] != 10 and out[n - 1] != 9:
                        out[n] = 32
                        n += 1
                    space = False
                if c == 38:
                    second = source[i + 1]
                    if second == 110:
                        out[n], out[n + 1] = 194, 160
                        n += 2
                    else:
                        out[n] = 38 if second == 97 else 60 if second == 108 else 62
                        n += 1
                    while i + 1 < stop[k] and source[i] != 59:
                        i += 1
                else:
                    out[n] = c
                    n += 1
                i += 1
        while n > begin and (out[n - 1] == 32 or out[n - 1] == 10 or out[n - 1] == 9):
            n -= 1
    return out[:n]
