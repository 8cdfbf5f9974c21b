"""URLs: the address that a link asks for, its canonical form, the entries of a sitemap, and which hosts may be asked.

A URL is two things. Its *address* is what is sent: what the page linked to, written as a browser would (WHATWG URL).
Its *canonical form* is an identity: that two addresses are the same page is told by it, and it is never sent, because
a server may well tell ``?/topic/1`` from ``?%2Ftopic%2F1=``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import ada_url
from lxml import etree
from w3lib.url import canonicalize_url

SITEMAP_BYTES = 50_000_000
"""Longest sitemap the protocol allows, unpacked."""

CACHED_URLS = 200_000
"""Canonical forms kept in memory: the pages of a site mostly link to the same pages."""

_DEFAULT_PORT = {"http": 80, "https": 443}


class BadUrl(ValueError):
    """Not a URL that can be fetched; says why."""


def address(href: str, base: str | None = None, encoding: str = "utf-8") -> str:
    """What a browser would ask for: ``href`` of a page at ``base`` as ASCII, without its fragment. The query of a page
    in another encoding is sent in that encoding (WHATWG URL §4.4).

    Raises:
        BadUrl: it cannot be parsed.
    """
    href = href.strip().partition("#")[0]
    path, mark, query = href.partition("?")
    if mark and not query.isascii() and encoding != "utf-8":
        try:
            raw = query.encode(encoding, "xmlcharrefreplace")
        except LookupError:
            raw = query.encode()
        # Only what is not ASCII is written in another way; "&#20013;" of what the encoding lacks is one value.
        query = "".join(chr(b) if b < 128 else f"%{b:02X}" for b in raw.replace(b"&#", b"%26%23"))
    try:
        return ada_url.URL(path + mark + query, base).href
    except ValueError as error:
        raise BadUrl(f"cannot be parsed: {error}") from error


def is_web(url: str) -> bool:
    """Whether an address is http or https."""
    return url.startswith(("http://", "https://"))


@lru_cache(maxsize=CACHED_URLS)
def canonical(url: str) -> str:
    """Canonical form, an identity and no address: fragment dropped, query sorted, percent-encoding and host case made
    one, default port left out.

    Raises:
        BadUrl: it cannot be parsed, has no host, or is not http(s).
    """
    try:
        plain: str = canonicalize_url(url.strip(), keep_fragments=False)
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
