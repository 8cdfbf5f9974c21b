"""Crawl a site into WARC segments, deterministically, and resume where a killed crawl stopped.

A batch of the frontier becomes one segment: a WARC file, then its fetch log, whose rename finishes the pair. A resumed
crawl reads finished segments instead of the site and plans on from there; robots.txt is asked again, the sitemap's list
is kept. At most one segment's requests are repeated after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.data import CrawlSource, HtmlFolderSource
from neo_assets.core.records import document_id, read_table
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import html_folder, refuse_changed_files
from neo_assets.crawl.fetch import Fetched, Fetcher, user_agent
from neo_assets.crawl.frontier import Frontier
from neo_assets.crawl.robots import Robots
from neo_assets.crawl.site import folder_site, serving
from neo_assets.web.fetch_log import (
    FETCHED,
    REDIRECT,
    LogRow,
    log_outcome,
    log_table,
    now,
    read_log,
    stage_key,
    storable,
)
from neo_assets.web.links import BadUrl, Links, canonical, origin_of, page_links
from neo_assets.web.warc_files import Response, SegmentWriter, read_segment

SEGMENT_URLS = 500
"""URLs in a segment; what a kill can cost, and how finely extraction is cut. Changes no result."""

_SITEMAP_LIST = "sitemap-urls.parquet"


@dataclass(frozen=True)
class _Site:
    """A site to be crawled: where to begin, what may be asked, and which hosts are really this machine."""

    seeds: list[str]
    origins: list[str]
    allowed_domains: list[str]
    ports: Mapping[str, int]


def crawl_source(config: CrawlSource | HtmlFolderSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Every page of the source as it was sent, in WARC files, with a log of what became of each URL.

    Breadth first and deterministic; robots.txt, Crawl-delay and Retry-After are obeyed. A dead link, a refusal or a
    broken page is a row of the log and never stops the crawl.

    Raises:
        BadInput: the folder of an ``html_folder`` source is not there.
    """
    stage = stage_key("raw_crawl", inputs)
    refuse_changed_files(config, next(iter(inputs.values())))
    started = time.monotonic()
    requests = asyncio.run(_crawl(config, out))
    seconds = time.monotonic() - started
    return log_outcome(
        stage,
        out,
        sorted((out.path / "log").glob("part-*.parquet")),
        {"requests": requests, "requests_per_s": round(requests / max(seconds, 1e-9), 1)},
    )


@contextlib.asynccontextmanager
async def _site(config: CrawlSource | HtmlFolderSource) -> AsyncIterator[_Site]:
    if isinstance(config, CrawlSource):
        origins = set()
        for seed in config.seeds:
            with contextlib.suppress(BadUrl):
                origins.add(origin_of(canonical(seed)))
        yield _Site(config.seeds, sorted(origins), config.allowed_domains, {})
        return
    folder = folder_site(html_folder(config), config.host, config.include)
    async with serving(folder) as port:
        yield _Site(folder.seeds, [f"http://{config.host}"], [config.host], {config.host: port})


async def _crawl(config: CrawlSource | HtmlFolderSource, out: Workspace) -> int:
    """Fetch everything that is not there yet; returns the number of requests."""
    async with _site(config) as site, Fetcher(config.politeness, config.max_page_bytes, site.ports) as fetcher:
        robots = Robots(fetcher, site.allowed_domains)
        frontier = Frontier(
            map(_canonical_or_raw, site.seeds),
            await _sitemap_urls(robots, site, out),
            site.allowed_domains,
            config.max_depth,
            config.max_redirects,
        )
        kept = asked = segment = 0
        while kept < config.max_pages and (batch := frontier.next_batch(min(SEGMENT_URLS, config.max_pages - kept))):
            files = _Segment(out, segment)
            if (found := files.read(batch)) is None:
                found = await _fetch_batch(batch, files, fetcher, robots, config.politeness.contact)
                files.finish(_settle(found, frontier))
            else:
                _settle(found, frontier)
            kept += sum(entry.row.outcome == FETCHED for entry in found)
            asked += len(batch)
            segment += 1
            out.progress(asked, None, f"URLs, {kept:,} pages kept")
        return fetcher.requests


async def _sitemap_urls(robots: Robots, site: _Site, out: Workspace) -> list[str]:
    if not out.has(_SITEMAP_LIST):
        out.write(_SITEMAP_LIST, pa.table({"url": pa.array(await robots.sitemap_urls(site.origins), pa.string())}))
    urls: list[str] = read_table(out.path / _SITEMAP_LIST)["url"].to_pylist()
    return urls


@dataclass(slots=True)
class _Found:
    """What one URL of a batch gave: its log row, and the links of its page."""

    row: LogRow
    links: Links = field(default_factory=Links)


class _Segment:
    """One batch on disk: a WARC file and its log, which is written last."""

    def __init__(self, out: Workspace, number: int) -> None:
        self._out = out
        self.warc = out.path / f"warc/part-{number:05d}.warc.gz"
        self._log = f"log/part-{number:05d}.parquet"

    def read(self, batch: list[tuple[str, int]]) -> list[_Found] | None:
        """What the finished segment holds for ``batch``; None if it is not finished, or was made of other URLs."""
        if not self._out.has(self._log):
            return None
        entries = read_log(self._out.path / self._log)
        if {row.url for row in entries} != {url for url, _ in batch}:
            return None
        links = {
            response.url: page_links(response.payload, response.url, response.content_type)
            for response in read_segment(self.warc)
        }
        return [_Found(row, links.get(row.url, Links())) for row in entries]

    def finish(self, entries: list[LogRow]) -> None:
        self._out.write(self._log, log_table(entries))


async def _fetch_batch(
    batch: list[tuple[str, int]], files: _Segment, fetcher: Fetcher, robots: Robots, contact: str
) -> list[_Found]:
    """Fetch a batch's URLs, pages going into the segment's WARC file as they arrive; results in the batch's own order,
    which is URL order.
    """
    writer = SegmentWriter(files.warc, user_agent(contact))

    async def one(url: str, depth: int) -> _Found:
        answer = await _ask(url, fetcher, robots)
        row = _log_row(url, depth, answer)
        if answer.outcome != FETCHED:
            return _Found(row)
        writer.add(
            Response(url, answer.status or 0, answer.headers, answer.payload, answer.fetched_at, answer.truncated)
        )
        return _Found(row, page_links(answer.payload, url, answer.content_type))

    found = await asyncio.gather(*(one(url, depth) for url, depth in batch))
    writer.finish()
    return list(found)


async def _ask(url: str, fetcher: Fetcher, robots: Robots) -> Fetched:
    try:
        canonical(url)
    except BadUrl as error:
        return Fetched("malformed_url", str(error), fetched_at=now())
    if refusal := await robots.refusal(url):
        return Fetched("robots", refusal, fetched_at=now())
    return await fetcher.fetch(url)


def _log_row(url: str, depth: int, answer: Fetched) -> LogRow:
    return LogRow(
        url=url,
        final_url=answer.location or url,
        doc_id=document_id(url, answer.payload),
        outcome=answer.outcome,
        reason=storable(answer.reason),
        status=answer.status,
        depth=depth,
        bytes=len(answer.payload),
        truncated=answer.truncated,
        content_type=storable(answer.content_type),
        payload_digest=digest_bytes(answer.payload) if answer.outcome == FETCHED else "",
        fetched_at=answer.fetched_at,
    )


def _settle(found: list[_Found], frontier: Frontier) -> list[LogRow]:
    """Tell the frontier, in URL order, what a batch found; returns the rows with their redirects judged."""
    for entry in found:
        row = entry.row
        if row.outcome == FETCHED:
            frontier.links(entry.links.urls, entry.links.malformed, row.depth)
        elif row.outcome == REDIRECT:
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
            outcome, reason = frontier.redirect(row.url, target, row.depth)
            entry.row = replace(row, final_url=target, outcome=outcome, reason=reason)
    return [entry.row for entry in found]


def _canonical_or_raw(url: str) -> str:
    try:
        return canonical(url)
    except BadUrl:
        return storable(url)
