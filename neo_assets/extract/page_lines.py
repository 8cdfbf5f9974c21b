"""Chosen blocks as plain text, as a browser shows them: white space folded, breaks and rows kept, code as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.extract.page_blocks import Blocks
from neo_assets.text.characters import character_table
from neo_assets.text.text_kernels import SPACE
from neo_assets.web.flat_page import CELL, IN_LINES, IN_PRE, TEXT, FlatPage, Integers, character
from neo_assets.web.html_names import TAG

_BLANK, _NEWLINE, _TAB, _RETURN, _FEED, _AND, _NO_BREAK_SPACE = 32, 10, 9, 13, 12, ord("&"), 0xA0

_CLOSE = np.zeros(len(TAG) + 1, np.uint8)
for _name in ("li", "tr", "td", "th", "dd", "dt", "option", "figcaption", "caption", "thead", "tbody", "tfoot"):
    _CLOSE[TAG[_name]] = 1
"""Blocks that follow each other without an empty line."""
_CELLS = np.zeros(len(TAG) + 1, np.uint8)
for _name in ("td", "th"):
    _CELLS[TAG[_name]] = 1
_PRES = np.zeros(len(TAG) + 1, np.uint8)
for _name in ("pre", "listing"):
    _PRES[TAG[_name]] = 1
_ROW = TAG["tr"]


def text_of(page: FlatPage, blocks: Blocks, chosen: NDArray[np.bool_]) -> str:
    """The text of the chosen blocks in document order."""
    tabs, pres, tight = _rows(page, blocks)
    written = _write(
        page.source, page.kind, page.start, page.stop, page.marks, blocks.first, blocks.end, chosen, tight, tabs, pres,
    )  # fmt: skip
    return bytes(written).decode("utf-8", "replace")


def _rows(page: FlatPage, blocks: Blocks) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """How the blocks of a page stand to each other: of each the tabs that part it from the one before it in its row
    (0: it is on another line), the ``<pre>`` it stands in (-1: none), and whether it may follow a line without an empty
    one.
    """
    cell, pre, row = _around(page.tag, page.parent, _CELLS, _PRES, _ROW)
    tabs, whole = _tabs(
        page.source, page.kind, page.start, page.stop, page.owner, page.marks, blocks.first, blocks.end, cell, row,
        character_table().flags,
    )  # fmt: skip
    inside = blocks.element >= 0
    tight = whole | (inside & (_CLOSE[page.tag[blocks.element]] > 0))
    return tabs, np.where(inside, pre[blocks.element], -1), tight


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
def _around(tag, parent, cells, pres, tr):  # type: ignore[no-untyped-def]
    """Of each element: the cell of a table and the ``<pre>`` that it is or stands in, and the row of that cell."""
    cell, pre = np.full(tag.size, -1, np.int64), np.full(tag.size, -1, np.int64)
    row, own_row = np.full(tag.size, -1, np.int64), np.full(tag.size, -1, np.int64)
    for e in range(tag.size):
        up = parent[e]
        if up >= 0:
            cell[e], pre[e], row[e], own_row[e] = cell[up], pre[up], row[up], own_row[up]
        if tag[e] == tr:
            own_row[e] = e
        if cells[tag[e]]:
            cell[e], row[e] = e, own_row[e]
        if pres[tag[e]] and pre[e] < 0:
            pre[e] = e
    return cell, pre, row


@kernel
def _shown(source, i, limit, flags):  # type: ignore[no-untyped-def]
    while i < limit:
        code, i = character(source, i, limit)
        if code >= flags.size or not flags[code] & SPACE:
            return True
    return False


@kernel
def _tabs(source, kind, start, stop, owner, marks, first, end, cell, row, flags):  # type: ignore[no-untyped-def]
    """(tabs before each block, whether it is a whole cell of a row that has others): a block that is all of its cell
    goes on the line of the cell before it, as far as that is one block too. A cell of several is a part of a page.
    """
    n = first.size
    held = np.zeros(cell.size, np.int64)  # blocks that show something in each cell
    opens, closes = np.full(n, -1, np.int64), np.full(n, -1, np.int64)  # first and last cell of each block
    begins, ends = np.zeros(n, np.int64), np.zeros(n, np.int64)  # the runs that show something first and last
    coded = np.zeros(n, np.bool_)
    for b in range(n):
        found, last = False, -1
        for k in range(first[b], end[b]):
            if kind[k] == TEXT and _shown(source, start[k], stop[k], flags):
                at = cell[owner[k]] if owner[k] >= 0 else -1
                if not found:
                    opens[b], begins[b] = at, k
                if at >= 0 and (not found or at != last):
                    held[at] += 1
                found, last, closes[b], ends[b] = True, at, at, k
                coded[b] = coded[b] or marks[k] & IN_PRE > 0
    tabs, whole = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    for b in range(1, n):
        before, after = closes[b - 1], opens[b]
        if before < 0 or after < 0 or before == after or row[before] != row[after] or coded[b] or coded[b - 1]:
            continue
        if held[before] == 1 and held[after] == 1:
            for k in range(ends[b - 1], begins[b]):
                tabs[b] += kind[k] == CELL and row[owner[k]] == row[after]
            whole[b - 1] = whole[b] = True
    return tabs, whole


@kernel
def _write(source, kind, start, stop, marks, first, end, chosen, tight, tabs, pres):  # type: ignore[no-untyped-def]
    """Text takes no more bytes than it had, and what stands between blocks and runs less than three and two."""
    room = 0
    for b in range(first.size):
        if chosen[b]:
            room += 4 + tabs[b]
            for k in range(first[b], end[b]):
                room += stop[k] - start[k] + 2
    out = np.zeros(room, np.uint8)
    n = 0
    last = -1  # the block that was written last
    for b in range(first.size):
        if not chosen[b]:
            continue
        if last >= 0:
            between = 1 if (tight[b] and tight[last]) or 0 <= pres[b] == pres[last] else 2
            out[n : n + between] = _NEWLINE
            if last == b - 1 and tabs[b]:
                between = tabs[b]
                out[n : n + between] = _TAB
            n += between
        last, begin = b, n
        space = False  # white space that is written before the next character
        for k in range(first[b], end[b]):
            if kind[k] == TEXT:
                keeps = marks[k] & IN_PRE, marks[k] & IN_LINES
                n, space = _write_run(out, n, begin, space, source, start[k], stop[k], *keeps)
            elif kind[k] == CELL:
                while n > begin and out[n - 1] == _BLANK:
                    n -= 1
                if n > begin and out[n - 1] != _NEWLINE:
                    out[n] = _TAB
                    n += 1
                space = False
            else:
                n = _break(out, n, begin)
                space = False
        while n > begin and (out[n - 1] == _NEWLINE or out[n - 1] == _BLANK or out[n - 1] == _TAB):
            n -= 1
    return out[:n]


@kernel
def _break(out, n, begin):  # type: ignore[no-untyped-def]
    """End a line within a block. Returns the bytes there are now."""
    while n > begin and (out[n - 1] == _BLANK or out[n - 1] == _TAB):
        n -= 1
    if n > begin:
        out[n] = _NEWLINE
        n += 1
    return n


@kernel
def _write_run(out, n, begin, space, source, i, limit, kept, lines):  # type: ignore[no-untyped-def]
    """Write a run of text after ``n`` bytes; ``kept``: with its white space, ``lines``: with its line breaks. Returns
    (bytes there are now, whether white space is to be written).
    """
    while i < limit:
        c = source[i]
        if c in (_BLANK, _NEWLINE, _TAB, _RETURN, _FEED):
            i += 1
            space = space or not kept
            if kept and (n > begin or (c != _NEWLINE and c != _RETURN)):  # code begins on its first line with text
                out[n] = c
                n += 1
            elif lines and c == _NEWLINE:
                n, space = _break(out, n, begin), False
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
