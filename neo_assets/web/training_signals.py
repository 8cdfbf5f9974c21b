"""What a site says about training on its pages, and about being read by programs at all.

Sources: RFC 9309 (groups of AI agents in robots.txt); AIPREF (draft-ietf-aipref-attach and -vocab: ``Content-Usage`` as
a header and in robots.txt); the W3C community group's TDMRep (file, header, meta); ``noai`` (X-Robots-Tag, meta);
Cloudflare's ``Content-Signal``; RSL 1.0 (``License`` in robots.txt, ``Link`` header, ``<link>``). Whatever was said is
kept in the words it was said in, also where it allows; where a signal is said twice, the refusal counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_USES = ("train-genai", "train-ai", "ai", "all", "bots")
"""Categories of use that training a language model falls under, the most specific first."""
_AGENT_PREFIX = re.compile(r"^\s*([A-Za-z][\w.-]*)\s*:\s*(.*)$", re.DOTALL)
_NO_AGENTS = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
_RSL = "application/rsl+xml"
_NOT_KEPT = ("noindex", "noarchive", "none")
_NOT_FOLLOWED = ("nofollow", "none")
MAX_WORDS = 200
"""Of a statement, this many characters are kept."""


@dataclass(frozen=True, slots=True)
class Said:
    """One statement about training: by which signal, in which words, and whether it refuses."""

    signal: str
    words: str
    refuses: bool

    def __str__(self) -> str:
        return f"{self.signal}: {self.words}"


def refusing_words(said: Iterable[Said], obeyed: Collection[str]) -> str:
    """The first statement that refuses by a signal which is obeyed, in its words; "" for none."""
    return next((str(s) for s in said if s.refuses and s.signal in obeyed), "")


@dataclass(frozen=True, slots=True)
class PageSays:
    """What an answer says by its headers and its ``meta`` elements."""

    training: tuple[Said, ...] = ()
    not_kept: str = ""
    """The words by which it asks not to be stored."""
    not_followed: bool = False


def page_says(
    headers: Iterable[tuple[str, str]],
    metas: Iterable[tuple[str, str]],
    licence_links: Iterable[str],
    agents: Sequence[str],
) -> PageSays:
    """What one page says. ``metas``: (name, content) of its meta elements; ``licence_links``: hrefs of RSL licences in
    it; ``agents``: product tokens whose own lines of X-Robots-Tag and meta count like everybody's.
    """
    ours = {agent.lower() for agent in agents}
    said: list[Said] = []
    directives: list[tuple[str, str]] = []
    for name, value in headers:
        match name.lower():
            case "content-usage":
                said += _usage("content_usage", f"Content-Usage: {value}", value)
            case "content-signal":
                said += _usage("content_signal", f"Content-Signal: {value}", value)
            case "tdm-reservation":
                said.append(Said("tdmrep", _short(f"tdm-reservation: {value.strip()}"), value.strip() == "1"))
            case "x-robots-tag":
                directives += [(d, f"X-Robots-Tag: {value}") for d in _directives(value, ours)]
            case "link" if _RSL in value.lower():
                said.append(Said("rsl", _short(f"Link: {value}"), True))
    for name, value in metas:
        if name.lower() == "tdm-reservation":
            said.append(Said("tdmrep", _short(f'meta tdm-reservation "{value}"'), value.strip() == "1"))
        elif name.lower() == "robots" or name.lower() in ours:
            directives += [(d.strip().lower(), f'meta {name} "{value}"') for d in value.split(",")]
    said += [Said("rsl", _short(f"licence {href}"), True) for href in licence_links]
    said += [Said("noai", _short(words), True) for directive, words in directives if directive == "noai"]
    return PageSays(
        tuple(dict.fromkeys(said)),
        next((_short(words) for directive, words in directives if directive in _NOT_KEPT), ""),
        any(directive in _NOT_FOLLOWED for directive, _ in directives),
    )


@dataclass
class SiteSays:
    """What a site's robots.txt and tdmrep.json say about training, path by path."""

    usage: list[tuple[str, str, str]] = field(default_factory=list)  # path, name of the line, its value
    licence: str = ""
    reserved: list[tuple[str, bool]] = field(default_factory=list)  # TDMRep: location, whether it is reserved
    named: set[str] = field(default_factory=set)  # agents that robots.txt has a group of, in lower case

    def said(self, url: str) -> list[Said]:
        """What is said about one address."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        out: list[Said] = []
        for name, signal in (("content-usage", "content_usage"), ("content-signal", "content_signal")):
            fitting = [(len(p), v) for p, n, v in self.usage if n == name and _fits(p, path)]
            longest = max((length for length, _ in fitting), default=0)
            for length, value in fitting:
                if length == longest:
                    out += _usage(signal, f"robots.txt {name.title()}: {value}", value)
        if self.licence:
            out.append(Said("rsl", _short(f"robots.txt License: {self.licence}"), True))
        for location, reserved in self.reserved:
            if _fits(location, path):
                out.append(
                    Said("tdmrep", _short(f'tdmrep.json "{location}" tdm-reservation {int(reserved)}'), reserved)
                )
                break
        return out


def site_says(robots: str, tdmrep: bytes, agent: str) -> SiteSays:
    """What a robots.txt and a ``/.well-known/tdmrep.json`` say to ``agent``; what is broken in them is passed over."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    names: list[str] = []
    out, in_rules = SiteSays(), False
    for line in robots.splitlines():
        name, _, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "user-agent":
            names = [value.lower()] if in_rules else [*names, value.lower()]
            in_rules = False
            out.named |= {value.lower()} - {"*"}
        elif name in ("content-usage", "content-signal"):
            in_rules = True
            path, rest = value.split(None, 1) if value.startswith("/") and " " in value else ("/", value)
            for who in names or ["*"]:
                groups.setdefault(who, []).append((path, name, rest))
        elif name == "license" and value:
            out.licence = value
        elif name and name != "sitemap":
            in_rules = True
    out.usage = groups.get(agent.lower(), groups.get("*", []))
    out.reserved = _reservations(tdmrep)
    return out


def _reservations(body: bytes) -> list[tuple[str, bool]]:
    try:
        told = json.loads(body.decode("utf-8-sig")) if body.strip() else []
    except (ValueError, RecursionError):
        return []
    rows = [row for row in (told if isinstance(told, list) else [told]) if isinstance(row, Mapping)]
    return [
        (location, row.get("tdm-reservation") in (1, "1", True))
        for row in rows
        if isinstance(location := row.get("location"), str)
    ]


def _fits(pattern: str, path: str) -> bool:
    """Whether a path begins as ``pattern`` says; ``*`` and a ``$`` at the end are as in robots.txt."""
    end = pattern.endswith("$")
    parts = [re.escape(part) for part in pattern.removesuffix("$").split("*")]
    return re.match(".*".join(parts) + ("$" if end else ""), path, re.DOTALL) is not None


def _usage(signal: str, words: str, value: str) -> list[Said]:
    """A dictionary of uses (RFC 9651), y or n each: the most specific use that training falls under decides."""
    told: dict[str, set[str]] = {}
    for member in value.split(","):
        key, _, answer = member.partition("=")
        told.setdefault(key.strip().lower().replace("ai-train", "train-ai"), set()).add(
            answer.partition(";")[0].strip().lower()
        )
    for use in _USES:
        if use in told:
            return [Said(signal, _short(words), bool(told[use] & {"n", "no", "?0"}))]
    return []


def _directives(value: str, ours: set[str]) -> list[str]:
    """Directives of an X-Robots-Tag that are said to everybody or to us."""
    found = _AGENT_PREFIX.match(value)
    if found and found[1].lower() not in _NO_AGENTS:
        if found[1].lower() not in ours:
            return []
        value = found[2]
    return [directive.strip().lower() for directive in value.split(",")]


def _short(words: str) -> str:
    return " ".join(words.split())[:MAX_WORDS]
