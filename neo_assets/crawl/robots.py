"""robots.txt as RFC 9309 has it: 4xx means all is allowed, an unreachable file means nothing is.

Answers are kept per origin (scheme, host and port) for one crawl. Sitemaps named there are read; an index is followed
one level, which is all the sitemap protocol knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from protego import Protego

from neo_assets.crawl.fetch import AGENT, Fetched, Fetcher
from neo_assets.web.fetch_log import FETCHED, REDIRECT
from neo_assets.web.links import SITEMAP_BYTES, BadUrl, canonical, host_of, is_allowed, origin_of, sitemap_entries

ROBOTS_BYTES = 512_000
"""A robots.txt is read this far (RFC 9309 asks for at least 500 KiB)."""
ROBOTS_HOPS = 5
"""Redirects followed for a robots.txt (RFC 9309 §2.3.1.2)."""


@dataclass(frozen=True, slots=True)
class _Rules:
    parsed: Protego | None
    refused: str = ""


def parsed_robots(payload: bytes) -> Protego:
    """The rules of a robots.txt. A byte order mark is no part of its first line (RFC 9309 §2.3)."""
    return Protego.parse(payload.decode("utf-8-sig", "replace"))


class Robots:
    """What the sites of one crawl allow."""

    def __init__(self, fetcher: Fetcher, allowed_domains: Sequence[str]) -> None:
        self._fetcher = fetcher
        self._allowed_domains = allowed_domains
        self._rules: dict[str, asyncio.Task[_Rules]] = {}

    async def refusal(self, url: str) -> str:
        """Why ``url`` must not be fetched, "" if it may be."""
        rules = await self._for(origin_of(url))
        if rules.refused:
            return rules.refused
        if rules.parsed is None or rules.parsed.can_fetch(url, AGENT):
            return ""
        return "disallowed by robots.txt"

    async def sitemap_urls(self, origins: Sequence[str]) -> list[str]:
        """Canonical page URLs in the sitemaps that the robots.txt files of ``origins`` name; sorted, each once."""
        named: list[str] = []
        for origin in origins:
            rules = await self._for(origin)
            named.extend(rules.parsed.sitemaps if rules.parsed else ())
        pages: set[str] = set()
        seen: set[str] = set()
        for level in range(2):
            answers = await asyncio.gather(*(self._sitemap(place) for place in sorted(set(named) - seen)))
            seen.update(named)
            named = []
            for found, further in answers:
                pages.update(found)
                named.extend(further if level == 0 else ())
        return sorted(pages)

    async def _sitemap(self, place: str) -> tuple[list[str], list[str]]:
        try:
            url = canonical(place)
        except BadUrl:
            return [], []
        if not is_allowed(url, self._allowed_domains) or await self.refusal(url):
            return [], []
        answer = await self._fetcher.fetch(url, html_only=False, max_bytes=SITEMAP_BYTES)
        if answer.outcome != FETCHED:
            return [], []
        pages, further = sitemap_entries(answer.payload)
        good = []
        for page in pages:
            try:
                good.append(canonical(page))
            except BadUrl:
                continue
        return good, further

    async def _for(self, origin: str) -> _Rules:
        if origin not in self._rules:
            self._rules[origin] = asyncio.create_task(self._read(origin))
        return await self._rules[origin]

    async def _read(self, origin: str) -> _Rules:
        url, answer = f"{origin}/robots.txt", Fetched("connection")
        for _ in range(ROBOTS_HOPS + 1):
            answer = await self._fetcher.fetch(url, html_only=False, max_bytes=ROBOTS_BYTES)
            if answer.outcome != REDIRECT:
                break
            try:
                url = canonical(answer.location)
            except BadUrl:
                return _Rules(None)
            if not is_allowed(url, self._allowed_domains):
                return _Rules(None)
        if answer.outcome == FETCHED:
            parsed = parsed_robots(answer.payload)
            self._fetcher.slow_down(host_of(origin), parsed.crawl_delay(AGENT) or 0.0)
            return _Rules(parsed)
        if answer.outcome == REDIRECT or (
            answer.status is not None and 400 <= answer.status < 500 and answer.status != 429
        ):
            return _Rules(None)
        return _Rules(None, f"robots.txt cannot be read ({answer.reason}), which forbids everything")
