"""A page as the crawler sees it: where it leads, what it says about being kept and trained on, and whether its text was
seen before.

A page's bytes are decoded before links are read, because a query in a link is sent in the page's own encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import xxhash
from selectolax.lexbor import LexborHTMLParser

from neo_assets.core.recipe.sources import Refusals
from neo_assets.web.encoding import decode_html
from neo_assets.web.fetch_log import PAGE_ROBOTS, REFUSED, storable
from neo_assets.web.links import BadUrl, address, canonical, is_web
from neo_assets.web.media import document_suffix
from neo_assets.web.training_signals import PageSays, Said, page_says, refusing_words
from neo_assets.web.warc_files import Response

_LINKS = "a[href], area[href], frame[src], iframe[src]"
_RSL_LINKS = 'link[type="application/rsl+xml"], script[type="application/rsl+xml"]'
_NOT_TEXT = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, slots=True)
class PageView:
    """Where a page points, and what it says.

    ``links``: (canonical form, address) of http(s) links, sorted, one for each canonical form. ``malformed``: hrefs
    that are no URLs at all. ``text``: a hash of the words that a reader sees, without digits; None where nothing was
    read.
    """

    links: tuple[tuple[str, str], ...] = ()
    malformed: tuple[str, ...] = ()
    says: PageSays = field(default_factory=PageSays)
    text: int | None = None


def view_page(
    page: Response, agents: Sequence[str] = (), obey_nofollow: bool = True, with_text: bool = False
) -> PageView:
    """Read an HTML page. Links marked ``nofollow``, and all of a page that asks for it, are left out, and so are mail
    addresses and other schemes. ``agents``: see :func:`~neo_assets.web.training_signals.page_says`; ``with_text``:
    whether the page's words are hashed.
    """
    if document_suffix(page.content_type):
        return PageView(says=page_says(page.headers, [], [], agents))
    text, encoding = decode_html(page.payload, page.content_type)
    tree = LexborHTMLParser(text)
    metas = [
        (node.attributes.get("name") or "", node.attributes.get("content") or "") for node in tree.css("meta[name]")
    ]
    licences = [node.attributes.get("href") or node.attributes.get("src") or "" for node in tree.css(_RSL_LINKS)]
    says = page_says(page.headers, metas, licences, agents)
    base = page.url
    for node in tree.css("base[href]")[:1]:
        try:
            base = address(node.attributes["href"] or "", page.url)
        except BadUrl:
            base = page.url
    links: dict[str, str] = {}
    malformed: set[str] = set()
    for href in sorted(_hrefs(tree, obey_nofollow)) if not (obey_nofollow and says.not_followed) else ():
        try:
            target = address(href, base, encoding)
            if is_web(target):
                links.setdefault(canonical(target), target)
        except BadUrl:
            malformed.add(storable(href))
    return PageView(
        tuple(sorted(links.items())), tuple(sorted(malformed)), says, _words_of(tree) if with_text else None
    )


def refusal(said: Sequence[Said], not_kept: str, refusals: Refusals) -> tuple[str, str]:
    """(outcome, words) of a page that is not to be kept, by what was said about training and by its meta robots; both
    "" where it may be.
    """
    if words := refusing_words(said, refusals.obey):
        return REFUSED, words
    return (PAGE_ROBOTS, not_kept) if refusals.page_robots and not_kept else ("", "")


def _words_of(tree: LexborHTMLParser) -> int:
    """A hash of the words that a reader sees, without digits."""
    tree.strip_tags(["script", "style", "noscript", "template"])
    words = _NOT_TEXT.sub(" ", tree.body.text(separator=" ")) if tree.body is not None else ""
    return xxhash.xxh3_64_intdigest(words.encode("utf-8", "replace"))


def _hrefs(tree: LexborHTMLParser, obey_nofollow: bool) -> set[str]:
    hrefs = set()
    for node in tree.css(_LINKS):
        if not (obey_nofollow and "nofollow" in (node.attributes.get("rel") or "").lower().split()):
            href = node.attributes.get("href") or node.attributes.get("src") or ""
            hrefs.add(href.partition("#")[0].strip())
    return hrefs - {""}
