"""Which URL comes next: breadth first, depth by depth, in URL order within a depth.

Batches are planned from what earlier batches found, and settled in URL order, never in order of arrival. So the same
site gives the same batches at any concurrency, and a crawl that was killed plans the same batches again. The price is a
pause at the end of each batch for its slowest page.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neo_assets.crawl.traps import LATER, NOW, Traps
from neo_assets.web.fetch_log import storable
from neo_assets.web.links import BadUrl, address, canonical, is_allowed


@dataclass(frozen=True, slots=True)
class Wanted:
    """A URL whose turn it is: its canonical form, the address to ask for ("" for what is no URL), links away from a
    seed, and why it is not asked for ("": it is).
    """

    url: str
    address: str
    depth: int
    refusal: str = ""


class Frontier:
    """URLs waiting to be fetched. Settle what a batch found before asking for the next one.

    A page that is linked to in several ways is asked for as it was linked to first, in the order of its depth and of
    the pages that lead to it.
    """

    def __init__(
        self,
        seeds: Iterable[str],
        sitemap_urls: Iterable[str],
        allowed_domains: Sequence[str],
        max_depth: int,
        max_redirects: int,
        traps: Traps | None = None,
    ) -> None:
        self._traps = traps
        self._allowed_domains = allowed_domains
        self._max_depth = max_depth
        self._max_redirects = max_redirects
        self._waiting: list[tuple[int, int, str]] = []
        self._seen: set[str] = set()
        self._hops: dict[str, int] = {}
        self._leads_to: dict[str, str] = {}
        self._address: dict[str, str] = {}
        for seed in seeds:
            self._add(*_named(seed), 0)
        # A sitemap is one link away from its site, like the links of the first page.
        self._add_links(map(_named, sitemap_urls), 1)

    def next_batch(self, limit: int) -> list[Wanted]:
        """Up to ``limit`` URLs of one depth, in URL order, and those before them that are not asked for; empty when the
        crawl is over.
        """
        batch: list[Wanted] = []
        later: list[tuple[int, int, str]] = []
        level = self._waiting[0][:2] if self._waiting else None
        asked = 0
        if self._traps:
            self._traps.settled()
        while self._waiting and asked < limit and self._waiting[0][:2] == level:
            depth, hops, url = heapq.heappop(self._waiting)
            refusal = self._traps.admit(url) if self._traps and depth and self._address[url] else NOW
            if refusal == LATER:
                later.append((depth, hops, url))
                continue
            asked += not refusal
            batch.append(Wanted(url, self._address.pop(url), depth, refusal))
        for entry in later:
            heapq.heappush(self._waiting, entry)
        return batch

    def links(self, links: Iterable[tuple[str, str]], malformed: Iterable[str], depth: int) -> None:
        """Note the links, (canonical form, address), of a page at ``depth``. What is no URL is kept too, so that the
        log can name it.
        """
        self._add_links(links, depth + 1)
        if depth < self._max_depth:
            for href in malformed:
                self._add(href, "", depth + 1)

    def text(self, url: str, text: int) -> None:
        """Note the text of a page."""
        if self._traps:
            self._traps.seen(url, text)

    def redirect(self, url: str, target: str, target_address: str, depth: int) -> tuple[str, str]:
        """Note that ``url`` leads to ``target``; returns (outcome, reason)."""
        if not is_allowed(target, self._allowed_domains):
            return "redirect_off_site", f"leads to {target}, outside the allowed domains"
        place = target
        while place != url and place in self._leads_to:
            place = self._leads_to[place]
        if place == url:
            return "redirect_loop", f"leads to {target}, which leads back here"
        hops = self._hops.get(url, 0) + 1
        if hops > self._max_redirects:
            return "too_many_redirects", f"the {hops}th redirect in a row"
        self._leads_to[url] = target
        if target not in self._seen:
            self._hops[target] = hops
            self._add(target, target_address, depth, hops)
        return "redirect", f"leads to {target}"

    def _add_links(self, links: Iterable[tuple[str, str]], depth: int) -> None:
        if depth <= self._max_depth:
            for url, place in links:
                if is_allowed(url, self._allowed_domains):
                    self._add(url, place, depth)

    def _add(self, url: str, place: str, depth: int, hops: int = 0) -> None:
        if url not in self._seen:
            self._seen.add(url)
            self._address[url] = place
            heapq.heappush(self._waiting, (depth, hops, url))


def _named(place: str) -> tuple[str, str]:
    """(canonical form, address); what is no URL has no address."""
    try:
        return canonical(found := address(place)), found
    except BadUrl:
        return storable(place), ""
