"""A first look at some pages of every site, before any page of it is read: what ``site_habits.py`` goes by."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.recipe.data import Extract, SiteHabits
from neo_assets.core.records import read_table
from neo_assets.crawl.stored_pages import StoredPart
from neo_assets.extract.html_pages import Unreadable, html_of, html_pages
from neo_assets.extract.main_content import LogOdds, Second, log_odds
from neo_assets.extract.page_blocks import Blocks, blocks_of
from neo_assets.extract.site_habits import (
    Habit,
    as_the_site,
    habit_of,
    joined,
    places_of,
    read_habits,
    write_habits,
)
from neo_assets.web.fetch_log import FETCHED
from neo_assets.web.flat_page import FlatPage, flat_page
from neo_assets.web.links import host_of
from neo_assets.web.media import document_suffix

Shares = Mapping[str, float]
"""The share of its pages that is looked at first, of each host that has enough."""
GATHERED = "habits.parquet"


def shares_of(logs: Iterable[Path], how: SiteHabits) -> Shares:
    """Which hosts of a crawl are looked at first, and how many of their pages."""
    counts: Counter[str] = Counter()
    for log in logs:
        columns = read_table(log, columns=["url", "outcome", "content_type"]).to_pydict()
        for url, outcome, content_type in zip(*columns.values(), strict=True):
            if outcome == FETCHED and not document_suffix(content_type):
                counts[host_of(url)] += 1
    return {host: min(1.0, how.pages / n) for host, n in counts.items() if n >= how.at_least}


def looked_at(doc_id: str, share: float) -> bool:
    """Whether a page is among this share of its host's: told by its id, and by nothing else."""
    return int(doc_id[:8], 16) < share * 16**8


def look(config: Extract, shares: Shares, folder: Path, part: StoredPart) -> None:
    """Judge the pages of one part that are looked at first, each by itself."""
    found: dict[str, list[Habit]] = {}
    for doc_id, url, crawled in html_pages(part, folder):
        host = host_of(url)
        if not looked_at(doc_id, shares.get(host, 0.0)) or len(crawled.payload) > config.max_html_bytes:
            continue
        try:
            page = flat_page(html_of(crawled))
        except (Unreadable, RuntimeError, ValueError):
            continue  # told when it is read
        blocks = blocks_of(page)
        found.setdefault(host, []).append(habit_of(places_of(page, blocks), log_odds(page, blocks)))
    write_habits({host: joined(habits) for host, habits in found.items()}, looked_file(folder, part))


def gather(folder: Path, parts: Iterable[StoredPart]) -> None:
    """Write what was seen in all parts into one file."""
    write_habits(read_habits(looked_file(folder, part) for part in parts), folder / GATHERED)


@dataclass(frozen=True)
class Sites:
    """What the sites of a crawl do: ``shares`` of their pages were looked at, what they said lies in ``folder``."""

    folder: Path
    shares: Shares
    how: SiteHabits

    @functools.cached_property
    def habits(self) -> Mapping[str, Habit]:
        return read_habits([self.folder / GATHERED]) if self.shares else {}

    def of(self, url: str, doc_id: str) -> Second | None:
        """What its site says of the blocks of a page (canonical URL); None where nothing is known of it."""
        host = host_of(url)
        habit = self.habits.get(host)
        if habit is None:
            return None
        return functools.partial(self._second, habit, looked_at(doc_id, self.shares[host]))

    def _second(self, habit: Habit, seen: bool, page: FlatPage, blocks: Blocks, alone: LogOdds) -> LogOdds:
        return as_the_site(places_of(page, blocks), alone, habit, seen, self.how)


def looked_file(folder: Path, part: StoredPart) -> Path:
    """What was seen in one part."""
    return folder / "habits" / f"{part.name}.parquet"
