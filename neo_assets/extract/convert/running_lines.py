"""Headers, footers and page numbers: lines at the edge of a page that come again on other pages.

A line runs along when its words, numbers aside, stand at the same height on at least three pages; when it is a page's
number; or when most pages have a line at that height, apart from their body, whatever it says. Only lines at the outer
edge are looked at, and what lies inside of one that stays, stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from neo_assets.extract.convert.page_layout import Line

EDGE = 0.17
"""Share of a page's height, at its top and its bottom, in which lines may run along."""
EDGE_LINES = 4
REPEATS = 3
MOST_PAGES = 0.6
APART = 1.5
"""Line heights of white between a running line and the body."""

_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:page|p\.|seite|第)?\s*(?:\d{1,5}|[ivxlcdm]{1,7})(?:\s*(?:/|of|von|－|-)\s*\d{1,5})?\s*(?:页|頁)?[\W_]*",
    re.IGNORECASE,
)


class RunningLines:
    """What runs along in some pages of a document. ``rows``: lines of each page, from the top down."""

    def __init__(self, pages: Sequence[tuple[float, Sequence[Line]]]) -> None:
        self._pages = len(pages)
        self._words: Counter[tuple[bool, str, int]] = Counter()
        self._heights: Counter[tuple[bool, int]] = Counter()
        self._numbers: Counter[tuple[bool, int]] = Counter()
        for height, rows in pages:
            for top in (True, False):
                for i, row in enumerate(_edge(height, rows, top)):
                    for place in _places(row):
                        self._words[top, _key(row), place] += 1
                        if _is_number(row):
                            self._numbers[top, place] += 1
                        if i == 0 and _apart(rows, row, top):
                            self._heights[top, place] += 1

    def without(self, height: float, rows: Sequence[Line]) -> tuple[list[Line], list[Line]]:
        """(lines that stay, lines that run along) of a page."""
        running: list[Line] = []
        for top in (True, False):
            for row in _edge(height, rows, top):
                if not self._runs(rows, row, top):
                    break
                running.append(row)
        taken = set(map(id, running))
        return [row for row in rows if id(row) not in taken], running

    def _runs(self, rows: Sequence[Line], row: Line, top: bool) -> bool:
        enough = min(REPEATS, max(2, self._pages))
        for place in _places(row):
            if self._words[top, _key(row), place] >= enough:
                return True
            if _is_number(row) and (self._numbers[top, place] >= enough or self._pages < enough):
                return True
            if (
                self._pages >= 5
                and self._heights[top, place] >= MOST_PAGES * self._pages
                and _apart(rows, row, top)
                and len(row.text) < 120
            ):
                return True
        return False


def _edge(height: float, rows: Sequence[Line], top: bool) -> list[Line]:
    """Lines of the edge, from the outside in."""
    near = rows[:EDGE_LINES] if top else rows[::-1][:EDGE_LINES]
    limit = height * (1 - EDGE) if top else height * EDGE
    return [row for row in near if (row.y0 > limit if top else row.y1 < limit)]


def _apart(rows: Sequence[Line], row: Line, top: bool) -> bool:
    """Whether there is more white inside of a line than between lines."""
    inner = [r.y1 for r in rows if r.y1 < row.y0 + 1] if top else [r.y0 for r in rows if r.y0 > row.y1 - 1]
    if not inner:
        return True
    white = row.y0 - max(inner) if top else min(inner) - row.y1
    return white > APART * row.height


def _key(row: Line) -> str:
    return _NUMBER.sub("#", row.text).casefold()


def _places(row: Line) -> tuple[int, int]:
    """Heights that a line stands at, coarsely: two, so that no border falls between equal ones."""
    return int(row.y0 // 6) * 2, int((row.y0 + 3) // 6) * 2 + 1


def _is_number(row: Line) -> bool:
    return len(row.text) < 24 and _PAGE_NUMBER.fullmatch(row.text) is not None
