"""Which URL comes next: breadth first, depth by depth, in URL order within a depth.

Batches are planned from what earlier batches found, and settled in URL order, never in order of arrival. So the same
site gives the same batches at any concurrency, and a crawl that was killed plans the same batches again. The price is a
pause at the end of each batch for its slowest page.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from neo_assets.web.links import is_allowed


class Frontier:
    """URLs waiting to be fetched. ``settle`` what a batch found before asking for the next one."""

    def __init__(
        self,
        seeds: Iterable[str],
        sitemap_urls: Iterable[str],
        allowed_domains: Sequence[str],
        max_depth: int,
        max_redirects: int,
    ) -> None:
        self._allowed_domains = allowed_domains
        self._max_depth = max_depth
        self._max_redirects = max_redirects
        self._waiting: list[tuple[int, int, str]] = []
        self._seen: set[str] = set()
        self._hops: dict[str, int] = {}
        self._leads_to: dict[str, str] = {}
        for seed in seeds:
            self._add(seed, 0)
        # A sitemap is one link away from its site, like the links of the first page.
        self._add_links(sitemap_urls, 1)

    def next_batch(self, limit: int) -> list[tuple[str, int]]:
        """Up to ``limit`` URLs of one depth with that depth, in URL order; empty when the crawl is over."""
        batch: list[tuple[str, int]] = []
        level = self._waiting[0][:2] if self._waiting else None
        while self._waiting and len(batch) < limit and self._waiting[0][:2] == level:
            depth, _, url = heapq.heappop(self._waiting)
            batch.append((url, depth))
        return batch

    def links(self, urls: Iterable[str], malformed: Iterable[str], depth: int) -> None:
        """Note the links of a page at ``depth``. What is no URL is kept too, so that the log can name it."""
        self._add_links(urls, depth + 1)
        if depth < self._max_depth:
            for href in malformed:
                self._add(href, depth + 1)

    def redirect(self, url: str, target: str, depth: int) -> tuple[str, str]:
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
            self._add(target, depth, hops)
        return "redirect", f"leads to {target}"

    def _add_links(self, urls: Iterable[str], depth: int) -> None:
        if depth <= self._max_depth:
            for url in urls:
                if is_allowed(url, self._allowed_domains):
                    self._add(url, depth)

    def _add(self, url: str, depth: int, hops: int = 0) -> None:
        if url not in self._seen:
            self._seen.add(url)
            heapq.heappush(self._waiting, (depth, hops, url))
