"""One URL of a crawl: asked for as it was linked to, and judged by what its site and its page say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.sources import DOCUMENT_TYPES, CrawlSource, HtmlFolderSource
from neo_assets.core.records import document_id
from neo_assets.core.tombstones import Addresses
from neo_assets.crawl.earlier import EarlierPages
from neo_assets.crawl.fetch import AGENT, Fetched, Fetcher
from neo_assets.crawl.frontier import Wanted
from neo_assets.crawl.robots import Robots
from neo_assets.web.fetch_log import FETCHED, REDIRECT, REFUSED, WITHDRAWN, LogRow, now, storable
from neo_assets.web.links import BadUrl, canonical
from neo_assets.web.media import HTML
from neo_assets.web.page_view import PageView, refusal, view_page
from neo_assets.web.training_signals import Said, refusing_words
from neo_assets.web.warc_files import Response


@dataclass(slots=True)
class Found:
    """What one URL of a batch gave: its log row, and what its page says and leads to."""

    row: LogRow
    view: PageView = field(default_factory=PageView)
    requested: bool = False
    passing: bool = False


class Asker:
    """Asks for one URL, and judges what the answer says of itself."""

    def __init__(
        self,
        config: CrawlSource | HtmlFolderSource,
        fetcher: Fetcher,
        robots: Robots,
        earlier: EarlierPages,
        withdrawn: Addresses,
    ) -> None:
        agents = [AGENT, *config.refusals.agents]
        self.view = partial(
            view_page,
            agents=agents,
            obey_nofollow=config.refusals.page_robots,
            with_text=isinstance(config, CrawlSource),  # only there may a site have no end
        )
        self.contact = config.politeness.contact
        self._wanted = [*HTML, *(DOCUMENT_TYPES if config.keep_documents else ())]
        self._max_hops = config.max_redirects
        self._refusals = config.refusals
        self._fetcher = fetcher
        self._robots = robots
        self._earlier = earlier
        self._withdrawn = withdrawn

    async def ask(self, wanted: Wanted) -> tuple[Found, Response | None]:
        """What became of a URL, and its page where it is kept."""
        if wanted.refusal:
            return Found(_log_row(wanted, wanted.address, Fetched("trap", wanted.refusal, fetched_at=now()))), None
        place, answer, said = wanted.address or wanted.url, Fetched("connection"), list[Said]()
        for _ in range(self._max_hops + 1):
            try:
                canonical(place)
            except BadUrl as error:
                answer = Fetched("malformed_url", str(error), fetched_at=now())
                break
            if (target := self._withdrawn.named_by(place)) is not None:
                answer = Fetched(WITHDRAWN, f"a tombstone names {target.kind} {target.value}", fetched_at=now())
                break
            if (forbidden := await self._robots.refusal(place)) is not None:
                answer = forbidden
                break
            said = await self._robots.said(place)
            if refused := refusing_words(said, self._refusals.obey):
                answer = Fetched(REFUSED, refused, fetched_at=now())
                break
            answer = await self._earlier.fetch(self._fetcher, place, self._wanted)
            # Another address of the same page, which is what the site calls it: no redirect to another page.
            if answer.outcome != REDIRECT or answer.location == place or _same(answer.location) != wanted.url:
                break
            place = answer.location
        requested = answer.status is not None or answer.passing
        if answer.outcome != FETCHED:
            row = _log_row(wanted, place, answer, said)
            return Found(row, PageView(), requested, answer.passing), None
        page = Response(place, answer.status or 0, answer.headers, answer.payload, answer.fetched_at, answer.truncated)
        view = self.view(page)
        said += view.says.training
        outcome, reason = refusal(said, view.says.not_kept, self._refusals)
        if outcome:
            left = replace(answer, outcome=outcome, reason=reason, payload=b"")
            row = _log_row(wanted, place, left, said, [link for _, link in view.links])
            return Found(row, replace(view, text=None, malformed=()), requested), None
        return Found(_log_row(wanted, place, answer, said), view, requested), page


def _same(place: str) -> str:
    try:
        return canonical(place)
    except BadUrl:
        return ""


def _log_row(
    wanted: Wanted, place: str, answer: Fetched, said: Sequence[Said] = (), links: Sequence[str] = ()
) -> LogRow:
    return LogRow(
        url=wanted.url,
        address=place,
        final_url=answer.location or wanted.url,
        doc_id=document_id(wanted.url, answer.payload),
        outcome=answer.outcome,
        reason=storable(answer.reason),
        status=answer.status,
        depth=wanted.depth,
        bytes=len(answer.payload),
        truncated=answer.truncated,
        content_type=storable(answer.content_type),
        payload_digest=digest_bytes(answer.payload) if answer.outcome == FETCHED else "",
        fetched_at=answer.fetched_at,
        said=storable("\n".join(dict.fromkeys(map(str, said)))),
        links=list(links),
    )
