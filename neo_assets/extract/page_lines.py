"""Chosen blocks as plain text, as a browser shows them: white space folded, breaks and rows kept, code as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.extract.page_blocks import Blocks
from neo_assets.text.characters import character_table
from neo_assets.text.text_kernels import SPACE
from neo_assets.web.flat_page import BREAK, IN_PRE, TAG, TEXT, FlatPage, character

_BLANK, _NEWLINE, _TAB, _RETURN, _FEED, _AND, _NO_BREAK_SPACE = 32, 10, 9, 13, 12, ord("&"), 0xA0

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


def characters(page: FlatPage, blocks: Blocks, chosen: NDArray[np.bool_] | None = None) -> int:
    """Characters in the chosen blocks, or in all, that are no white space: counted from the page, and not from what was
    written.
    """
    some = np.ones(len(blocks.first), np.bool_) if chosen is None else chosen
    flags = character_table().flags
    return int(_count(page.source, page.kind, page.start, page.stop, blocks.first, blocks.end, some, flags))


@kernel
def _count(source, kind, start, stop, first, end, chosen, flags):  # type: ignore[no-untyped-def]
    found = 0
    for b in range(first.size):
        if chosen[b]:
            for k in range(first[b], end[b]):
                i = start[k]
                while kind[k] == TEXT and i < stop[k]:
                    code, i = character(source, i, stop[k])
                    found += code >= flags.size or not flags[code] & SPACE
    return found


@kernel
def _write(source, tag, kind, start, stop, marks, first, end, element, chosen, close):  # type: ignore[no-untyped-def]
    """Text takes no more bytes than it had, and what stands between blocks and runs less than four and two."""
    room = 0
    for b in range(first.size):
        if chosen[b]:
            room += 4
            for k in range(first[b], end[b]):
                room += stop[k] - start[k] + 2
    out = np.zeros(room, np.uint8)
    n = 0
    closed = False
    for b in range(first.size):
        if not chosen[b]:
            continue
        tight = element[b] >= 0 and close[tag[element[b]]] == 1
        if n:
            out[n : n + 2] = _NEWLINE
            n += 1 if tight and closed else 2
        closed = tight
        begin = n
        space = False  # white space that is written before the next character
        for k in range(first[b], end[b]):
            if kind[k] == TEXT:
                n, space = _write_run(out, n, begin, space, source, start[k], stop[k], marks[k] & IN_PRE)
                continue
            n = _without_blanks(out, n, begin)
            if n > begin and (kind[k] == BREAK or out[n - 1] != _NEWLINE):
                out[n] = _NEWLINE if kind[k] == BREAK else _TAB
                n += 1
            space = False
        while n > begin and (out[n - 1] == _NEWLINE or out[n - 1] == _BLANK or out[n - 1] == _TAB):
            n -= 1
    return out[:n]


@kernel
def _without_blanks(out, n, begin):  # type: ignore[no-untyped-def]
    while n > begin and (out[n - 1] == _BLANK or out[n - 1] == _TAB):
        n -= 1
    return n


@kernel
def _write_run(out, n, begin, space, source, i, limit, kept):  # type: ignore[no-untyped-def]
    """Write a run of text after ``n`` bytes. Returns (bytes there are now, whether white space is to be written)."""
    while i < limit:
        c = source[i]
        if c in (_BLANK, _NEWLINE, _TAB, _RETURN, _FEED):
            i += 1
            space = space or not kept
            if kept and (n > begin or (c != _NEWLINE and c != _RETURN)):  # code begins on its first line with text
                out[n] = c
                n += 1
            continue
        if space and n > begin and out[n - 1] != _NEWLINE and out[n - 1] != _TAB:
            out[n] = _BLANK
            n += 1
        space = False
        code, after = character(source, i, limit)
        if c == _AND and code == _NO_BREAK_SPACE:
            out[n], out[n + 1] = 0xC2, 0xA0
            n += 2
        elif c == _AND:
            out[n] = code
            n += 1
        else:
            out[n : n + after - i] = source[i:after]
            n += after - i
        i = after
    return n, space
