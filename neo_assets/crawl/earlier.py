"""Pages of an earlier snapshot: asked for on condition, and taken from there where the site says that they are the
same.

A page's own ETag and Last-Modified are in the headers that its WARC record kept. What a site says of them is believed
as any reader of the web believes it (RFC 9110 §13).
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.store import Artifact
from neo_assets.crawl.fetch import NOT_MODIFIED, Fetched, Fetcher
from neo_assets.web.fetch_log import FETCHED, read_log
from neo_assets.web.warc_files import Response, read_segment

SEGMENTS_HELD = 4
"""Segments of the earlier snapshot in memory: batches of both are in URL order, so few are needed at a time."""


class EarlierPages:
    """What was fetched of a source before."""

    def __init__(self, artifact: Artifact | None) -> None:
        self._segment_of: dict[str, Path] = {}
        self._held: OrderedDict[Path, Mapping[str, Response]] = OrderedDict()
        self.not_modified = 0
        for log in artifact.files("log/") if artifact else ():
            assert artifact is not None
            segment = artifact.path / "warc" / log.name.replace(".parquet", ".warc.gz")
            with contextlib.suppress(BadInput):  # a log of another version: everything is asked for in full
                for row in read_log(log):
                    if row.outcome == FETCHED and not row.truncated:
                        self._segment_of[row.address] = segment

    async def fetch(self, fetcher: Fetcher, address: str, wanted: Sequence[str]) -> Fetched:
        """The answer for an address; the earlier page, fetched now, where it has not changed."""
        before = self._page(address)
        if before is None or not (unless := _conditions(before)):
            return await fetcher.fetch(address, wanted=wanted)
        answer = await fetcher.fetch(address, wanted=wanted, unless=unless)
        if answer.outcome != NOT_MODIFIED:
            return answer
        self.not_modified += 1
        now = {name.lower(): (name, value) for name, value in answer.headers}
        kept = [pair for pair in before.headers if pair[0].lower() not in now]
        return replace(
            answer,
            outcome=FETCHED,
            status=before.status,
            headers=[*kept, *now.values()],
            content_type=before.content_type,
            payload=before.payload,
        )

    def _page(self, address: str) -> Response | None:
        segment = self._segment_of.get(address)
        if segment is None:
            return None
        if segment not in self._held:
            self._held[segment] = {page.url: page for page in read_segment(segment)} if segment.is_file() else {}
            while len(self._held) > SEGMENTS_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(segment)
        return self._held[segment].get(address)


def _conditions(page: Response) -> dict[str, str]:
    named = {name.lower(): value for name, value in page.headers}
    asked = {"If-None-Match": named.get("etag"), "If-Modified-Since": named.get("last-modified")}
    return {name: value for name, value in asked.items() if value}
