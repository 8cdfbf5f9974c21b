"""What the pages of a site have in common: blocks that stand in one place of its layout are content, or not, together.

A place is what a block's element and the three around it are: their tags and their classes. A first look at some pages
of every site says how likely the blocks of each place are content; a page is then judged by its own blocks and by what
the *other* pages say of their places. A page that is nearly empty says little by itself, and the frame around it is
taken for its content; its neighbours know better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.core.recipe.data import SiteHabits
from neo_assets.core.records import read_table, write_table
from neo_assets.extract.main_content import LogOdds
from neo_assets.extract.page_blocks import Blocks
from neo_assets.web.flat_page import FlatPage
from neo_assets.web.html_names import HASH_PRIME, HASH_SEED

LEVELS = 4
"""Elements that a place is told by."""
CERTAIN = 9.0
"""Log-odds beyond which nothing is more certain (one in eight thousand)."""
_UNIT = 1000
"""Log-odds are summed as whole thousandths: a sum is the same in whatever order it is made."""
HABITS = pa.schema(
    [
        ("host", pa.string()),
        ("place", pa.uint64()),
        ("pages", pa.int64()),
        ("log_odds", pa.int64()),
        ("squares", pa.int64()),
    ]
)

Places = NDArray[np.uint64]


@dataclass(frozen=True)
class Habit:
    """Of one host: its ``places`` in order, on how many ``pages`` each was seen, and sums over these pages: of the mean
    log-odds that its blocks are content (thousandths), and of the mean square of these (millionths).
    """

    places: Places
    pages: NDArray[np.int64]
    log_odds: NDArray[np.int64]
    squares: NDArray[np.int64]


def places_of(page: FlatPage, blocks: Blocks) -> Places:
    """The place of each block (n)."""
    return _places(page.tag, page.classes, page.parent, blocks.element)  # type: ignore[no-any-return]


def habit_of(places: Places, log_odds: LogOdds) -> Habit:
    """What one page says of its places."""
    found, at, blocks = np.unique(places, return_inverse=True, return_counts=True)
    said = _UNIT * np.clip(log_odds, -CERTAIN, CERTAIN)
    sums, squares = (np.rint(np.bincount(at, x, len(found)) / blocks).astype(np.int64) for x in (said, said**2))
    return Habit(found, np.ones(len(found), np.int64), sums, squares)


def joined(habits: Iterable[Habit]) -> Habit:
    """What several pages, none in two of these, say together; in any order the same."""
    held = list(habits)
    places, at = np.unique(np.concatenate([h.places for h in held]), return_inverse=True)
    sums = [np.zeros(len(places), np.int64) for _ in range(3)]
    for column, total in zip(zip(*((h.pages, h.log_odds, h.squares) for h in held), strict=True), sums, strict=True):
        np.add.at(total, at, np.concatenate(column))
    return Habit(places, *sums)


def as_the_site(places: Places, log_odds: LogOdds, habit: Habit, seen: bool, how: SiteHabits) -> LogOdds:
    """Log-odds of a page's blocks (n) with what other pages of its site say of their places.

    The mean of those pages is added, ``how.weight`` times where many know the place and all its blocks are alike. n
    pages count n / (n + ``how.at_least``), and blocks that differ mean² / mean of the squares: a place that holds now
    this, now that says nothing. ``seen``: whether the page is among those of ``habit``; it is not asked about itself.
    """
    if not len(habit.places):
        return log_odds
    own = habit_of(places, log_odds)
    at = np.searchsorted(habit.places, own.places).clip(max=len(habit.places) - 1)
    known = habit.places[at] == own.places
    pages = np.where(known, habit.pages[at] - seen, 0)
    mean = np.where(known, habit.log_odds[at] - seen * own.log_odds, 0) / np.maximum(pages, 1) / _UNIT
    square = np.where(known, habit.squares[at] - seen * own.squares, 0) / np.maximum(pages, 1) / _UNIT**2
    alike = mean**2 / np.maximum(square, 1e-9)
    added = how.weight * mean * alike * (pages / (pages + how.at_least))
    return np.asarray(log_odds + added[np.searchsorted(own.places, places)])


def write_habits(habits: Mapping[str, Habit], path: Path) -> None:
    tables = [
        pa.table([[host] * len(h.places), h.places, h.pages, h.log_odds, h.squares], schema=HABITS)
        for host, h in sorted(habits.items())
    ]
    write_table(pa.concat_tables(tables) if tables else HABITS.empty_table(), path)


def read_habits(files: Iterable[Path]) -> dict[str, Habit]:
    """The habits of hosts, whose pages may lie in several parts."""
    held: dict[str, list[Habit]] = {}
    for path in files:
        table = read_table(path, HABITS)
        hosts, *columns = (table[name].to_numpy() for name in HABITS.names)
        for run in np.split(np.arange(len(hosts)), np.flatnonzero(hosts[1:] != hosts[:-1]) + 1):
            if len(run):
                held.setdefault(hosts[run[0]], []).append(Habit(*(column[run] for column in columns)))
    return {host: joined(found) if len(found) > 1 else found[0] for host, found in held.items()}


@kernel
def _places(tag, classes, parent, element):  # type: ignore[no-untyped-def]
    out = np.zeros(element.size, np.uint64)
    for b in range(element.size):
        value, e = HASH_SEED, element[b]
        for _ in range(LEVELS):
            if e < 0:
                break
            value = (value ^ np.uint64(tag[e])) * HASH_PRIME
            value = (value ^ classes[e]) * HASH_PRIME
            e = parent[e]
        out[b] = value
    return out
