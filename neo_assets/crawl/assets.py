"""The crawl room: `sources`, `raw_crawl`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.kinds import told
from neo_assets.core.recipe.sources import CrawlSource, Source
from neo_assets.core.stage import ROWS_BALANCE, Claim, SourceKind, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.core.tombstones import targets_in_force
from neo_assets.crawl.books_source import read_books_source
from neo_assets.crawl.catalogue import SourceInput, describe_source, read_source_input, source_input
from neo_assets.crawl.crawler import crawl_source
from neo_assets.crawl.documents_source import read_documents_source
from neo_assets.crawl.warc_source import read_warc_source, read_wet_source
from neo_assets.declare import AttendedStage, Making
from neo_assets.web.fetch_log import LOSSES_BOUNDED

READERS: dict[str, Callable[..., Outcome]] = {
    "crawl": crawl_source,
    "html_folder": crawl_source,
    "warc": read_warc_source,
    "wet": read_wet_source,
    "books": read_books_source,
    "documents": read_documents_source,
}
"""The function that fetches a source, by its kind."""
NOT_EMPTY = Claim("not_empty", "Something was fetched.")
TERMS_QUOTED = Claim(
    "terms_quoted",
    "The full terms of the source's licence are in the catalogue (a warning where only its name is known).",
    blocking=False,
)


def reader(source: Source) -> Callable[..., Outcome]:
    """The function that fetches a source of this kind: a shipped one, or its own file's."""
    if source.kind in READERS:
        return READERS[source.kind]
    kind = told("neo_assets.crawl", source.kind, "SOURCE")
    assert isinstance(kind, SourceKind)
    return kind.read


@dataclass(frozen=True)
class Catalogue(AttendedStage[SourceInput]):
    """What is too large to be read when definitions load is read when the catalogue is made."""

    def settled(self, at: Making) -> SourceInput:
        return read_source_input(self.config.source)


@dataclass(frozen=True)
class Crawl(AttendedStage[Any]):
    """Asks no site for what is withdrawn when it is made. Files that are at hand are read as they are: what of them is
    withdrawn has a place in the corpus, and is not learnt.
    """

    def make(self, at: Making, out: Workspace) -> Outcome:
        if not isinstance(self.config, CrawlSource):
            return self.run(self.config, at.inputs, out)
        return crawl_source(self.config, at.inputs, out, targets_in_force(at.store.root, "crawl"))


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    for name, source in recipe.sources.items():
        yield Catalogue(f"sources/{name}", describe_source, source_input(source), kinds=["json"], claims=[TERMS_QUOTED])
        yield _raw_crawl(name, source)


def _raw_crawl(name: str, source: Source) -> Stage[Source]:
    return Crawl(
        f"raw_crawl/{name}",
        reader(source),
        source,
        reads=[f"sources/{name}"],
        kinds=["parquet" if source.GIVES_TEXT else "html" if source.GIVES_PAGES else "pdf"],
        claims=[ROWS_BALANCE, NOT_EMPTY, LOSSES_BOUNDED],
        label="fetched",
    )
