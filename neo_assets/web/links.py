"""URLs: their canonical form, the links of a page, the entries of a sitemap, and which hosts may be asked.

A page's bytes are decoded before links are read, because a query in a link is sent in the page's own encoding (WHATWG
URL §4.4).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urljoin, urlsplit, urlunsplit

from lxml import etree
from selectolax.lexbor import LexborHTMLParser
from w3lib.url import canonicalize_url

from neo_assets.web.encoding import decode_html
from neo_assets.web.fetch_log import storable

SITEMAP_BYTES = 50_000_000
"""Longest sitemap the protocol allows, unpacked."""

CACHED_URLS = 200_000
"""Canonical forms kept in memory: the pages of a site mostly link to the same pages."""

_DEFAULT_PORT = {"http": 80, "https": 443}
_LINKS = "a[href], area[href], frame[src], iframe[src]"


class BadUrl(ValueError):
    """Not a URL that can be fetched; says why."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page points: canonical http(s) URLs, and hrefs that are no URLs at all."""

    urls: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


@lru_cache(maxsize=CACHED_URLS)
def canonical(url: str, encoding: str = "utf-8") -> str:
    """Canonical form: fragment dropped, query sorted, percent-encoding and host case made one, default port left out.

    Raises:
        BadUrl: it cannot be parsed, has no host, or is not http(s).
    """
    try:
        plain: str = canonicalize_url(url.strip(), keep_fragments=False, encoding=encoding)
        parts = urlsplit(plain)
        host, port = parts.hostname, parts.port
    except (ValueError, LookupError) as error:
        raise BadUrl(f"cannot be parsed: {error}") from error
    if parts.scheme not in _DEFAULT_PORT:
        raise BadUrl(f"scheme '{parts.scheme}' is not http or https")
    if not host:
        raise BadUrl("has no host")
    if (
        any(c.isspace() or c in '<>"\\^`{}|' for c in host)
        or len(host) > 253
        or any(not 0 < len(label) < 64 for label in host.rstrip(".").split("."))
    ):
        raise BadUrl(f"'{host[:80]}' is not a host name")
    name = f"[{host}]" if ":" in host else host
    netloc = name if port in (None, _DEFAULT_PORT[parts.scheme]) else f"{name}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


@lru_cache(maxsize=CACHED_URLS)
def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


@lru_cache(maxsize=CACHED_URLS)
def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_allowed(url: str, domains: Sequence[str]) -> bool:
    """Whether the URL's host is one of ``domains`` or below one."""
    host = host_of(url).rstrip(".")
    return any(host == d or host.endswith("." + d) for d in (domain.lower().rstrip(".") for domain in domains))


def page_links(payload: bytes, base_url: str, content_type: str) -> Links:
    """Links of an HTML page in canonical form, sorted, each once; mail addresses and other schemes are left out."""
    text, encoding = decode_html(payload, content_type)
    tree = LexborHTMLParser(text)
    base = base_url
    for node in tree.css("base[href]")[:1]:
        try:
            base = urljoin(base_url, node.attributes["href"] or "")
        except ValueError:
            base = base_url
    urls: set[str] = set()
    malformed: set[str] = set()
    hrefs = {
        (node.attributes.get("href") or node.attributes.get("src") or "").partition("#")[0].strip()
        for node in tree.css(_LINKS)
    }
    for href in hrefs - {""}:
        try:
            target = urljoin(base, href)
            if urlsplit(target).scheme in _DEFAULT_PORT:
                urls.add(canonical(target, encoding))
        except ValueError:
            malformed.add(storable(href))
    return Links(tuple(sorted(urls)), tuple(sorted(malformed)))


def sitemap_entries(body: bytes) -> tuple[list[str], list[str]]:
    """(page URLs, URLs of further sitemaps) of a sitemap: XML or plain lines, gzip or not. What is broken in it is
    passed over.
    """
    if body[:2] == b"\x1f\x8b":
        body = _gunzip(body)
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return [line.strip() for line in body.decode("utf-8-sig", "replace").splitlines() if line.strip()], []
    # Entities stay unexpanded and nothing is loaded from elsewhere: a sitemap is a stranger's file.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return [], []
    if root is None:
        return [], []
    places = [(node.getparent(), (node.text or "").strip()) for node in root.iter("{*}loc")]
    named = [(etree.QName(parent).localname, place) for parent, place in places if parent is not None and place]
    return [place for parent, place in named if parent == "url"], [
        place for parent, place in named if parent == "sitemap"
    ]


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        return unpacker.decompress(body, SITEMAP_BYTES)
    except zlib.error:
        return b""
