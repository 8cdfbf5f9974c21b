"""What a site's own files say: robots.txt as RFC 9309 has it: 4xx means all is allowed, an unreachable file means
nothing is.

Answers are kept per origin (scheme, host and port) for one crawl. Sitemaps named there are read; an index is followed
one level, which is all the sitemap protocol knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from protego import Protego

from neo_assets.core.recipe.sources import Refusals
from neo_assets.crawl.fetch import AGENT, Fetched, Fetcher
from neo_assets.web.fetch_log import FETCHED, REDIRECT, now, storable
from neo_assets.web.links import (
    SITEMAP_BYTES,
    BadUrl,
    address,
    canonical,
    host_of,
    is_allowed,
    is_web,
    origin_of,
    sitemap_entries,
)
from neo_assets.web.training_signals import Said, SiteSays, site_says

ROBOTS_BYTES = 512_000
"""A robots.txt is read this far (RFC 9309 asks for at least 500 KiB)."""
ROBOTS_HOPS = 5
"""Redirects followed for a robots.txt (RFC 9309 §2.3.1.2)."""


@dataclass(frozen=True, slots=True)
class _Rules:
    parsed: Protego | None
    failed: Fetched | None = None
    says: SiteSays = field(default_factory=SiteSays)


@dataclass(frozen=True, slots=True)
class SitemapRow:
    """What became of one sitemap."""

    sitemap: str
    outcome: str
    reason: str
    pages: int


def parsed_robots(payload: bytes) -> Protego:
    """The rules of a robots.txt. A byte order mark is no part of its first line (RFC 9309 §2.3)."""
    return Protego.parse(payload.decode("utf-8-sig", "replace"))


class Robots:
    """What the sites of one crawl allow."""

    def __init__(self, fetcher: Fetcher, allowed_domains: Sequence[str], refusals: Refusals) -> None:
        self._fetcher = fetcher
        self._allowed_domains = allowed_domains
        self._refusals = refusals
        self._rules: dict[str, asyncio.Task[_Rules]] = {}

    async def refusal(self, url: str) -> Fetched | None:
        """Why the address must not be asked for, None if it may be. A site whose robots.txt cannot be had is not asked
        (RFC 9309 §2.3.1.4); where it was not reached at all, that is what is said.
        """
        rules = await self._for(origin_of(url))
        if (failed := rules.failed) is not None:
            if failed.outcome in ("connection", "timeout", "private_address"):
                return replace(failed, fetched_at=now())
            reason = f"robots.txt cannot be read ({failed.reason}), which forbids everything"
            return Fetched("robots", reason, fetched_at=now(), passing=failed.passing)
        if rules.parsed is None or rules.parsed.can_fetch(url, AGENT):
            return None
        return Fetched("robots", "disallowed by robots.txt", fetched_at=now())

    async def said(self, url: str) -> list[Said]:
        """What the site's files say about training on this address."""
        rules = await self._for(origin_of(url))
        out = rules.says.said(url)
        for agent in self._refusals.agents:
            if rules.parsed and agent.lower() in rules.says.named and not rules.parsed.can_fetch(url, agent):
                out.append(Said("robots_agents", f"robots.txt disallows {agent}", True))
        return out

    async def sitemap_urls(self, origins: Sequence[str]) -> tuple[list[str], list[SitemapRow]]:
        """(addresses of pages in the sitemaps that the robots.txt files of ``origins`` name, sorted, each once; what
        became of each sitemap, and of a robots.txt that could not be had).
        """
        named: list[str] = []
        told: list[SitemapRow] = []
        for origin in origins:
            rules = await self._for(origin)
            named.extend(rules.parsed.sitemaps if rules.parsed else ())
            if (failed := rules.failed) is not None:
                told.append(SitemapRow(f"{origin}/robots.txt", failed.outcome, storable(failed.reason), 0))
        pages: set[str] = set()
        seen: set[str] = set()
        for level in range(2):
            places = sorted(set(named) - seen)
            answers = await asyncio.gather(*(self._sitemap(place) for place in places))
            seen.update(named)
            named = []
            for found, further, row in answers:
                pages.update(found)
                told.append(row)
                named.extend(further if level == 0 else ())
        return sorted(pages), told

    async def _sitemap(self, place: str) -> tuple[list[str], list[str], SitemapRow]:
        try:
            url = address(place)
            canonical(url)
        except BadUrl as error:
            return [], [], SitemapRow(storable(place), "malformed_url", str(error), 0)
        if not is_allowed(url, self._allowed_domains):
            return [], [], SitemapRow(url, "off_site", "outside the allowed domains", 0)
        answer = await self.refusal(url) or await self._fetcher.fetch(url, wanted=None, max_bytes=SITEMAP_BYTES)
        if answer.outcome != FETCHED:
            return [], [], SitemapRow(url, answer.outcome, storable(answer.reason or answer.location), 0)
        pages, further = sitemap_entries(answer.payload)
        good = []
        for page in pages:
            try:
                canonical(found := address(page))
                good.append(found)
            except BadUrl:
                continue
        return good, further, SitemapRow(url, FETCHED, "", len(good) + len(further))

    async def _for(self, origin: str) -> _Rules:
        if origin not in self._rules:
            self._rules[origin] = asyncio.create_task(self._read(origin))
        return await self._rules[origin]

    async def _read(self, origin: str) -> _Rules:
        answer = await self._file(f"{origin}/robots.txt")
        if answer.outcome == FETCHED:
            parsed = parsed_robots(answer.payload)
            self._fetcher.slow_down(host_of(origin), parsed.crawl_delay(AGENT) or 0.0)
            text = answer.payload.decode("utf-8-sig", "replace")
        elif answer.outcome == REDIRECT or (
            answer.status is not None and 400 <= answer.status < 500 and answer.status != 429
        ):
            parsed, text = None, ""
        else:
            return _Rules(None, answer)
        reserved = await self._file(f"{origin}/.well-known/tdmrep.json") if "tdmrep" in self._refusals.obey else None
        tdmrep = reserved.payload if reserved is not None and reserved.outcome == FETCHED else b""
        return _Rules(parsed, None, site_says(text, tdmrep, AGENT))

    async def _file(self, url: str) -> Fetched:
        """A file about the site; a redirect that is not followed to its end is one."""
        answer = Fetched("connection")
        for _ in range(ROBOTS_HOPS + 1):
            answer = await self._fetcher.fetch(url, wanted=None, max_bytes=ROBOTS_BYTES)
            if answer.outcome != REDIRECT or not is_web(answer.location):
                break
            url = answer.location
            if not is_allowed(url, self._allowed_domains):
                break
        return answer
