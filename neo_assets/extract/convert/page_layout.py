"""From boxes on a page to lines in reading order: columns by the white strips between them, rows of tables across.

A page is cut where a strip of white runs down between lines on both sides. Lines that cross the strip (titles, wide
figures' captions) end what is above them, so that each band is read column by column. A strip between short pieces is
one of a table, whose rows are read across, cells apart. Boxes alone decide, never the order in which the file draws
them: a page that is drawn row by row, or shuffled, reads like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from neo_assets.extract.convert.words import is_ideograph

SAME_LINE = 0.45
"""Two boxes stand on one line when they overlap by this share of the lower one's height."""
WORD_GAP = 0.16
"""White of this many heights between two letters is a space."""
CELL_GAP = 1.8
"""White of this many heights inside a line divides cells."""
MIN_GUTTER = 0.55
"""The narrowest strip between columns, in heights."""
MOST_CROSSING = 0.5
"""At most this share of a region's lines may cross a strip."""
NARROW, NARROW_CROSSING = 1.0, 0.1
"""A strip narrower than so many heights may be crossed by this share: it could be a space between words."""
MIN_PIECE = 7.5
"""Pieces beside a strip are this many heights long at the median, or they are cells of a table."""
FULL_LINES, MOSTLY_FULL, FULL_WITHIN = 0.5, 0.75, 6.0
"""Of the lines left of a strip this share ends within so many heights of it: columns are filled, cells are not. The
second where pieces are not about as long as each other.
"""
EVEN = 0.6
"""Pieces are about as long as each other when the median one is this share of the long ones."""
BLOCK_GAP = 1.7
"""White of this many usual distances between lines parts blocks."""
COLUMN_LINES = 3
"""Fewer lines beside each other are no columns."""


@dataclass(slots=True)
class Run:
    """A piece of text on one line. Points from the lower left corner of the page, as it is looked at."""

    x0: float
    y0: float
    x1: float
    y1: float
    text: str

    @property
    def height(self) -> float:
        return self.y1 - self.y0


@dataclass(slots=True)
class Line:
    """Runs beside each other, from left to right. ``column``: the part of the page that it is read in."""

    runs: list[Run]
    column: int = 0
    cells: tuple[int, ...] = ()
    """Runs that begin another cell of a table's row."""
    x0: float = field(init=False)
    y0: float = field(init=False)
    x1: float = field(init=False)
    y1: float = field(init=False)

    def __post_init__(self) -> None:
        self.runs.sort(key=lambda r: (r.x0, r.x1))
        self.x0, self.x1 = self.runs[0].x0, max(r.x1 for r in self.runs)
        self.y0, self.y1 = min(r.y0 for r in self.runs), max(r.y1 for r in self.runs)

    @property
    def height(self) -> float:
        return max(self.runs, key=lambda r: len(r.text)).height

    @property
    def text(self) -> str:
        """The line's text; cells are divided by a tab."""
        parts: list[str] = []
        end, last = self.runs[0].x0, ""
        usual = max(self.runs, key=lambda r: len(r.text))
        for i, run in enumerate(self.runs):
            if _is_raised(run, usual):  # a footnote's mark, or an exponent
                mark = f"^{run.text}" if last[-1:].isdigit() else f"[{run.text}]"
                parts.append(mark + (" " if not last else ""))
                end, last = max(end, run.x1), last or " "
                continue
            gap = (run.x0 - end) / max(run.height, 1e-6)
            if i in self.cells:
                parts.append("\t")
            elif last and not last[-1].isspace() and not run.text[:1].isspace() and _spaced(last, run.text, gap):
                parts.append(" ")
            parts.append(run.text)
            end, last = max(end, run.x1), run.text or last
        return "".join(parts).strip()


def ordered_lines(runs: Sequence[Run]) -> list[Line]:
    """Lines of a page in the order in which they are read."""
    out: list[Line] = []
    if runs:
        _read(rows_of(runs), out)
    return out


def rows_of(runs: Sequence[Run]) -> list[Line]:
    """Runs that stand on one line, across the whole width, from the top down."""
    rows: list[list[Run]] = []
    for run in sorted(runs, key=lambda r: (-(r.y0 + r.y1), r.x0)):
        for row in rows[-4:][::-1]:
            other = row[0]
            overlap = min(run.y1, other.y1) - max(run.y0, other.y0)
            if overlap > SAME_LINE * min(run.height, other.height):
                row.append(run)
                break
        else:
            rows.append([run])
    return [Line(row) for row in rows]


def _is_raised(run: Run, usual: Run) -> bool:
    """Whether a number is written small and above the line."""
    if run is usual or not run.text.isdigit() or len(run.text) > 3:
        return False
    return run.height < 0.82 * usual.height and run.y0 > usual.y0 + 0.12 * usual.height


def _spaced(left: str, right: str, gap: float) -> bool:
    """Whether white between two runs is a space: between Chinese characters there is none."""
    if is_ideograph(left[-1]) and is_ideograph(right[0]):
        return False
    return gap > (0.6 if is_ideograph(left[-1]) or is_ideograph(right[0]) else WORD_GAP)


def _read(rows: list[Line], out: list[Line]) -> None:
    """Append the lines of a region, from the top down, columns one after another."""
    gutter = _gutter(rows)
    if gutter is None:
        column = out[-1].column + 1 if out else 0
        _mark_cells(rows)
        for row in rows:
            row.column = column
            out.append(row)
        return
    begin, end = gutter
    for crossing, band in _bands(rows, begin, end):
        if crossing:
            _read(band, out) if len(band) < len(rows) else out.extend(band)
            continue
        middle = (begin + end) / 2
        for side in (0, 1):
            half = [r for row in band for r in row.runs if ((r.x0 + r.x1) / 2 > middle) == bool(side)]
            _read(rows_of(half), out)  # anew: lines of two columns may stand at half a line's distance


def _mark_cells(rows: list[Line]) -> None:
    """Gaps that divide cells: wide ones that a line near by has at the same place. One alone is white of a justified
    line.
    """
    gaps = [
        {
            i: (a.x1, b.x0)
            for i, (a, b) in enumerate(itertools.pairwise(row.runs), 1)
            if b.x0 - a.x1 > CELL_GAP * row.height
        }
        for row in rows
    ]
    for at, row in enumerate(rows):
        near = [gap for other in gaps[max(0, at - 2) : at] + gaps[at + 1 : at + 3] for gap in other.values()]
        row.cells = tuple(
            i for i, (begin, end) in gaps[at].items() if any(min(end, e) - max(begin, b) > row.height for b, e in near)
        )


def _gutter(rows: list[Line]) -> tuple[float, float] | None:
    """The strip of white between columns, if there is one."""
    if len(rows) < COLUMN_LINES:
        return None
    left, right = min(r.x0 for r in rows), max(r.x1 for r in rows)
    height = median(r.height for r in rows)
    if right - left < 12 * height:
        return None
    scale = 2.0  # cells of half a point
    cells = int((right - left) * scale) + 2
    covered = np.zeros(cells + 1, np.int32)
    for row in rows:
        inside = np.zeros(cells + 1, np.bool_)
        for run in row.runs:
            inside[int((run.x0 - left) * scale) : int((run.x1 - left) * scale) + 1] = True
        covered += inside
    inner = slice(int(cells * 0.12), int(cells * 0.88))
    part = covered[inner]
    if not len(part):
        return None
    best: tuple[float, float, float] | None = None
    for allowed in sorted({0, int(part.min()), int(part.min() * 1.3) + 1, int(MOST_CROSSING * len(rows))}):
        if allowed > MOST_CROSSING * len(rows):
            continue
        free = np.flatnonzero(np.diff(np.concatenate([[0], (part <= allowed).astype(np.int8), [0]])))
        for a, b in zip(free[::2], free[1::2], strict=True):
            begin, end = left + (a + inner.start) / scale, left + (b + inner.start) / scale
            if end - begin < MIN_GUTTER * height:
                continue
            score = _columns(rows, begin, end) * min((end - begin) / height, 2.0)
            if score > 0 and (best is None or score > best[2]):
                best = (begin, end, score)
        if best:
            return best[0], best[1]
    return None


def _columns(rows: list[Line], begin: float, end: float) -> float:
    """How many lines stand beside a strip as columns do; 0 where it divides cells of a table, or words."""
    pieces: tuple[list[float], list[float]] = ([], [])
    heights: tuple[list[float], list[float]] = ([], [])
    crossing = full = 0
    for row in rows:
        if _crosses(row, begin, end):
            crossing += 1
            continue
        ends = [r.x1 for r in row.runs if r.x0 < end]
        full += bool(ends) and begin - max(ends) < FULL_WITHIN * row.height
        for side in (0, 1):
            if part := [r for r in row.runs if (r.x0 >= end) == bool(side)]:
                pieces[side].append(_piece(part, bool(side)) / row.height)
                heights[side].append((row.y0 + row.y1) / 2)
    if min(map(len, pieces)) < COLUMN_LINES or min(map(median, pieces)) < MIN_PIECE:
        return 0
    uneven = any(median(side) < EVEN * float(np.quantile(side, 0.9)) for side in pieces)
    if full < (MOSTLY_FULL if uneven else FULL_LINES) * len(pieces[0]):
        return 0
    narrow = end - begin < NARROW * median(r.height for r in rows)
    if narrow and crossing > NARROW_CROSSING * min(map(len, pieces)):
        return 0
    top, bottom = min(map(max, heights)), max(map(min, heights))
    beside = [sum(bottom - 1 <= y <= top + 1 for y in side) for side in heights]
    return float(min(beside)) if min(beside) >= COLUMN_LINES else 0


def _piece(runs: list[Run], right: bool) -> float:
    """Length of the piece of a line that is next to a strip, up to the next gap between cells."""
    ordered = sorted(runs, key=lambda r: r.x0, reverse=not right)
    edge = ordered[0].x0 if right else ordered[0].x1
    far = ordered[0].x1 if right else ordered[0].x0
    for run in ordered[1:]:
        gap = run.x0 - far if right else far - run.x1
        if gap > CELL_GAP * run.height:
            break
        far = max(far, run.x1) if right else min(far, run.x0)
    return abs(far - edge)


def _crosses(row: Line, begin: float, end: float) -> bool:
    """Whether a line runs across a strip: a run covers its middle, or its gap there is one between words."""
    middle, width = (begin + end) / 2, end - begin
    before = max((r.x1 for r in row.runs if r.x0 < middle), default=None)
    after = min((r.x0 for r in row.runs if r.x1 > middle), default=None)
    if before is None or after is None:
        return False
    return after - before < 0.85 * width


def _table_rows(rows: list[Line], begin: float, end: float) -> set[int]:
    """Lines (by id) of blocks, white around them, whose pieces beside the strip are cells and no lines of columns."""
    steps = [a.y0 - b.y0 for a, b in itertools.pairwise(rows) if a.y0 - b.y0 > 0.3 * b.height]
    usual = median(steps) if steps else 0.0
    blocks: list[list[Line]] = []
    for row in rows:
        if blocks and blocks[-1][-1].y0 - row.y0 <= BLOCK_GAP * usual:
            blocks[-1].append(row)
        else:
            blocks.append([row])
    out: set[int] = set()
    for block in blocks:
        both = []
        for row in block:
            sides = [[r for r in row.runs if (r.x0 >= end) == right] for right in (False, True)]
            if all(sides) and not _crosses(row, begin, end):
                both.append(
                    [_piece(part, right) / row.height for part, right in zip(sides, (False, True), strict=True)]
                )
        cells = bool(both) and min(median(side) for side in zip(*both, strict=True)) < MIN_PIECE
        if cells and len(both) > 1 and 2 * len(both) > len(block):
            out.update(map(id, block))
    return out


def _bands(rows: list[Line], begin: float, end: float) -> list[tuple[bool, list[Line]]]:
    """Lines from the top down, as bands that cross the strip and bands that do not."""
    bands: list[tuple[bool, list[Line]]] = []
    across = _table_rows(rows, begin, end)
    for row in rows:
        crossing = id(row) in across or _crosses(row, begin, end)
        if bands and bands[-1][0] == crossing:
            bands[-1][1].append(row)
        else:
            bands.append((crossing, [row]))
    # A line or two with a gap where the strip is, among lines that cross it: a gap between words, or a row of a table.
    out: list[tuple[bool, list[Line]]] = []
    for crossing, band in bands:
        both = sum(min(r.x0 for r in row.runs) < begin and max(r.x1 for r in row.runs) > end for row in band)
        if not crossing and len(band) < COLUMN_LINES and both:
            crossing = True
        if out and out[-1][0] == crossing:
            out[-1][1].extend(band)
        else:
            out.append((crossing, list(band)))
    return out
