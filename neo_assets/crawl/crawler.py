"""Crawl a site into WARC segments, deterministically, and resume where a killed crawl stopped.

A batch of the frontier becomes one segment: a WARC file, then its fetch log, whose rename finishes the pair. A resumed
crawl reads finished segments instead of the site and plans on from there; robots.txt is asked again, the sitemaps are
not once a segment is finished. At most one segment's requests are repeated after a kill.

A site that cannot be reached is a failure to try again later, and no segment of it is finished. Pages that an earlier
snapshot holds are asked for by their ETag and date, and taken from there where the site says that they are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from neo_assets.core.errors import Unreachable
from neo_assets.core.recipe.sources import CrawlSource, HtmlFolderSource, TrapBudget
from neo_assets.core.records import read_table
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.tombstones import Addresses, Target
from neo_assets.crawl.asker import Asker, Found
from neo_assets.crawl.catalogue import html_folder, refuse_changed_files
from neo_assets.crawl.earlier import EarlierPages
from neo_assets.crawl.fetch import Fetcher, user_agent
from neo_assets.crawl.frontier import Frontier, Wanted
from neo_assets.crawl.robots import Robots
from neo_assets.crawl.site import folder_site, serving
from neo_assets.crawl.traps import Traps
from neo_assets.web.fetch_log import (
    EXAMPLES,
    FETCHED,
    REDIRECT,
    LogRow,
    log_outcome,
    log_table,
    read_log,
    stage_key,
    storable,
)
from neo_assets.web.links import BadUrl, address, canonical, host_of, origin_of
from neo_assets.web.page_view import PageView
from neo_assets.web.warc_files import Response, SegmentWriter, read_segment

SEGMENT_URLS = 500
"""URLs in a segment; what a kill can cost, and how finely extraction is cut. Changes no result."""

_SITEMAP_LIST = "sitemap-urls.parquet"
_SITEMAPS = "sitemaps.parquet"
_SITEMAP = pa.schema(
    [("sitemap", pa.string()), ("outcome", pa.string()), ("reason", pa.string()), ("pages", pa.int64())]
)


@dataclass(frozen=True)
class _Site:
    """A site to be crawled: where to begin, what may be asked, and which hosts are really this machine."""

    seeds: list[str]
    origins: list[str]
    allowed_domains: list[str]
    ports: Mapping[str, int]
    private_addresses: bool = False
    traps: TrapBudget | None = None


OUTAGE = 20
"""Requests in a batch to a host that answered before, none of which was answered: the host is down."""


def crawl_source(
    config: CrawlSource | HtmlFolderSource,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    withdrawn: Sequence[Target] = (),
) -> Outcome:
    """Every page of the source as it was sent, in WARC files, with a log of what became of each URL.

    Breadth first and deterministic; robots.txt, Crawl-delay and Retry-After are obeyed. A dead link, a refusal or a
    broken page is a row of the log and never stops the crawl. What is ``withdrawn`` when the crawl is made, is not
    asked for; a snapshot that was there before stays as it is.

    Raises:
        BadInput: the folder of an ``html_folder`` source is not there.
        Unreachable: the site did not answer at all, or not any more; names host, cause and the first URL.
    """
    stage = stage_key("raw_crawl", inputs)
    refuse_changed_files(config, next(iter(inputs.values())))
    started = time.monotonic()
    requests, not_modified = asyncio.run(_crawl(config, out, stage, Addresses(withdrawn)))
    seconds = time.monotonic() - started
    outcome = log_outcome(
        stage,
        out,
        sorted((out.path / "log").glob("part-*.parquet")),
        {
            "requests": requests,
            "requests_per_s": round(requests / max(seconds, 1e-9), 1),
            "not_modified": not_modified,
        },
        config.max_bad_share,
    )
    if sitemaps := read_table(out.path / _SITEMAPS).slice(0, EXAMPLES).to_pylist():
        outcome.tables["sitemaps"] = sitemaps
    return outcome


@contextlib.asynccontextmanager
async def _site(config: CrawlSource | HtmlFolderSource) -> AsyncIterator[_Site]:
    if isinstance(config, CrawlSource):
        origins = set()
        for seed in config.seeds:
            with contextlib.suppress(BadUrl):
                origins.add(origin_of(canonical(address(seed))))
        yield _Site(config.seeds, sorted(origins), config.allowed_domains, {}, config.private_addresses, config.traps)
        return
    folder = folder_site(html_folder(config), config.host, config.include)
    async with serving(folder) as port:
        yield _Site(folder.seeds, [f"http://{config.host}"], [config.host], {config.host: port})


async def _crawl(
    config: CrawlSource | HtmlFolderSource, out: Workspace, stage: str, withdrawn: Addresses
) -> tuple[int, int]:
    """Fetch everything that is not there yet; returns the number of requests, and of pages that had not changed."""
    async with (
        _site(config) as site,
        Fetcher(config.politeness, config.max_page_bytes, site.ports, site.private_addresses) as fetcher,
    ):
        robots = Robots(fetcher, site.allowed_domains, config.refusals)
        in_sitemaps = await _sitemap_urls(robots, site, out)
        frontier = Frontier(
            site.seeds,
            in_sitemaps,
            site.allowed_domains,
            config.max_depth,
            config.max_redirects,
            Traps(site.traps) if site.traps else None,
        )
        earlier = EarlierPages(out.earlier() if isinstance(config, CrawlSource) else None)
        asker = Asker(config, fetcher, robots, earlier, withdrawn)
        kept = asked = segment = 0
        answered: set[str] = set()
        while kept < config.max_pages and (batch := frontier.next_batch(min(SEGMENT_URLS, config.max_pages - kept))):
            files = _Segment(out, segment, asker.view)
            if (found := files.read(batch)) is None:
                found = await _fetch_batch(batch, files, asker)
                _refuse_outage(found, answered, kept, stage)
                if not out.has(_SITEMAP_LIST):  # not before: what a site that was down did not say is asked again
                    out.write(_SITEMAP_LIST, pa.table({"url": pa.array(in_sitemaps, pa.string())}))
                files.finish(_settle(found, frontier))
            else:
                _settle(found, frontier)
            answered.update(host_of(entry.row.url) for entry in found if entry.row.status is not None)
            kept += sum(entry.row.outcome == FETCHED for entry in found)
            asked += len(batch)
            segment += 1
            out.progress(asked, None, f"URLs, {kept:,} pages kept")
        return fetcher.requests, earlier.not_modified


async def _sitemap_urls(robots: Robots, site: _Site, out: Workspace) -> list[str]:
    if out.has(_SITEMAP_LIST):
        known: list[str] = read_table(out.path / _SITEMAP_LIST)["url"].to_pylist()
        return known
    pages, told = await robots.sitemap_urls(site.origins)
    out.write(_SITEMAPS, pa.Table.from_pylist([asdict(row) for row in told], schema=_SITEMAP))
    return pages


def _refuse_outage(found: list[Found], answered: set[str], kept: int, stage: str) -> None:
    """Raises Unreachable where a batch shows that the site, or a host that answered before, is not there."""
    asked: Counter[str] = Counter()
    failed: dict[str, list[Found]] = {}
    for entry in found:
        if entry.requested:
            host = host_of(entry.row.url)
            asked[host] += 1
            if entry.passing:
                failed.setdefault(host, []).append(entry)
    down = {host: rows for host, rows in failed.items() if len(rows) == asked[host]}
    if not down:
        return
    host, entries = next(iter(down.items()))
    first = entries[0].row
    why = f"{first.reason} (asked for {first.address or first.url})"
    if not kept and not answered and len(down) == len(asked):
        raise Unreachable(
            f"{stage}: {host} cannot be reached: {why}. Nothing of this snapshot is stored; materialize it later."
        )
    for host, entries in down.items():
        if host in answered and len(entries) >= OUTAGE:
            raise Unreachable(
                f"{stage}: {host} has stopped answering after {kept:,} pages: {entries[0].row.reason} (asked for"
                f" {entries[0].row.address}). What was fetched is kept; materialize it again later, and it goes on."
            )


class _Segment:
    """One batch on disk: a WARC file and its log, which is written last."""

    def __init__(self, out: Workspace, number: int, view: Callable[[Response], PageView]) -> None:
        self._out = out
        self._view = view
        self.warc = out.path / f"warc/part-{number:05d}.warc.gz"
        self._log = f"log/part-{number:05d}.parquet"

    def read(self, batch: list[Wanted]) -> list[Found] | None:
        """What the finished segment holds for ``batch``; None if it is not finished, or was made of other URLs."""
        if not self._out.has(self._log):
            return None
        entries = read_log(self._out.path / self._log)
        if {row.url for row in entries} != {wanted.url for wanted in batch}:
            return None
        views = {canonical(page.url): self._view(page) for page in read_segment(self.warc)}
        return [Found(row, views.get(row.url) or _of_links(row.links)) for row in entries]

    def finish(self, entries: list[LogRow]) -> None:
        self._out.write(self._log, log_table(entries))


def _of_links(addresses: Sequence[str]) -> PageView:
    """What a page that was not kept leads to, as its log row has it."""
    return PageView(links=tuple(sorted((canonical(place), place) for place in addresses or ())))


async def _fetch_batch(batch: list[Wanted], files: _Segment, asker: Asker) -> list[Found]:
    """Fetch a batch's URLs, pages going into the segment's WARC file as they arrive; results in the batch's own order,
    which is URL order.
    """
    writer = SegmentWriter(files.warc, user_agent(asker.contact))

    async def one(wanted: Wanted) -> Found:
        found, page = await asker.ask(wanted)
        if page is not None:
            writer.add(page)
        return found

    found = await asyncio.gather(*(one(wanted) for wanted in batch))
    writer.finish()
    return list(found)


def _settle(found: list[Found], frontier: Frontier) -> list[LogRow]:
    """Tell the frontier, in URL order, what a batch found; returns the rows with their redirects judged."""
    for entry in found:
        row = entry.row
        if row.outcome == REDIRECT:
            try:
                target = canonical(row.final_url)
            except BadUrl as error:
                entry.row = replace(
                    row,
                    final_url=storable(row.final_url),
                    outcome="malformed_url",
                    reason=f"redirect to {storable(row.final_url)[:200]!r}: {error}",
                )
                continue
            # A resumed crawl has the canonical form alone, and the address in the one link of its row.
            place = row.links[0] if row.links else row.final_url
            outcome, reason = frontier.redirect(row.url, target, place, row.depth)
            entry.row = replace(
                row, final_url=target, outcome=outcome, reason=reason, links=[place] if outcome == REDIRECT else []
            )
        else:
            frontier.links(entry.view.links, entry.view.malformed, row.depth)
            if entry.view.text is not None:
                frontier.text(row.url, entry.view.text)
    return [entry.row for entry in found]
