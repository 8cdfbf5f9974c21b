"""What a report page consists of, how its numbers are written, and how it becomes one HTML file that loads nothing.

Everything on the page is escaped by the template; only the figures, drawn by us, go in as they are. The page's own
Content-Security-Policy forbids scripts and every request besides, so that a crawled text cannot act even if an escape
were missing. The price: a page with all its figures in it is some hundred kilobytes, and nothing on it can be sorted or
zoomed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from neo_assets.core.store import Artifact, Row, Scalar
from neo_assets.core.words import number

TEMPLATE = Path(__file__).with_name("report.html.j2")
LANGUAGES = {"en": "English", "zh": "Chinese"}
_HTML_LANG = {"zh": "zh-Hans"}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


@dataclass(frozen=True)
class Ref:
    """The artifact that a table or a figure was made from."""

    key: str
    fingerprint: str

    @property
    def short(self) -> str:
        return self.fingerprint[:12]

    @property
    def anchor(self) -> str:
        return "artifact-" + self.key.replace("/", "-")


def refs(artifacts: Iterable[Artifact]) -> tuple[Ref, ...]:
    """References to artifacts, each once, in the order given."""
    return tuple(dict.fromkeys(Ref(a.key, a.fingerprint) for a in artifacts))


@dataclass(frozen=True)
class Table:
    caption: str
    rows: Sequence[Row]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "table"

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0])

    @property
    def numeric(self) -> set[str]:
        """Columns that hold numbers alone; they stand flush right."""
        return {
            name
            for name in self.columns
            if any(is_number(r[name]) for r in self.rows)
            and all(r[name] is None or is_number(r[name]) for r in self.rows)
        }


@dataclass(frozen=True)
class Figure:
    """One or several small drawings under one caption."""

    caption: str
    drawings: Sequence[Markup]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Example:
    """One document that a rule dropped."""

    doc_id: str
    url: str
    measured: str
    text: str
    lang: str
    detail: str = ""
    twin_url: str = ""
    twin_text: str = ""


@dataclass(frozen=True)
class Examples:
    rule: str
    caption: str
    examples: Sequence[Example]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "examples"


@dataclass(frozen=True)
class Pieces:
    """A text cut into tokens."""

    caption: str
    lang: str
    pieces: Sequence[str]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "pieces"


@dataclass(frozen=True)
class Samples:
    """What the checkpoints wrote after one prompt: (step, continuation) in step order."""

    caption: str
    lang: str
    prompt: str
    continuations: Sequence[tuple[int, str]]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "samples"


@dataclass(frozen=True)
class Text:
    text: str
    heading: bool = False
    kind: ClassVar[str] = "text"


Block = Table | Figure | Examples | Pieces | Samples | Text


@dataclass(frozen=True)
class Part:
    """A numbered section of the page."""

    name: str
    title: str
    intro: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def of_kind(inputs: Mapping[str, Artifact], kind: str) -> dict[str, Artifact]:
    """Artifacts of one kind by source, language, phase or run: 'en' of 'near_dedup/en'."""
    return {name.partition("/")[2]: artifact for name, artifact in inputs.items() if name.partition("/")[0] == kind}


def table(caption: str, rows: Sequence[Row], artifacts: Iterable[Artifact]) -> list[Block]:
    """A table, or nothing when there are no rows; columns that only some rows have are filled with None."""
    if not rows:
        return []
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [Table(caption, [{name: row.get(name) for name in columns} for row in rows], refs(artifacts))]


# ------------------------------------------------------------------ numbers and texts


def cell(value: Scalar) -> str:
    """A value as it stands in a table: digits grouped, four significant digits of a fraction, a dash for what is not
    known.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return clean(value)


def clean(text: str) -> str:
    """Text without control characters; the template escapes what is left."""
    return _UNPRINTABLE.sub("\ufffd", text)


def is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_web_address(url: str) -> bool:
    """Whether a URL may be a link: a crawled ``javascript:`` address may not."""
    return url.startswith(("http://", "https://"))


# ------------------------------------------------------------------ the page


def render(values: Mapping[str, object]) -> str:
    """The page. Raises ``UndefinedError`` for a name the template uses and ``values`` lacks."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "clean": clean, "html_lang": lambda lang: _HTML_LANG.get(lang, lang)}
    environment.tests |= {"web_address": is_web_address}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(values)


class _Loads(HTMLParser):
    """Collects what a browser would load or run."""

    LOADING = frozenset({"src", "srcset", "poster", "data", "background", "action", "formaction", "xlink:href", "ping"})
    RUNNING = frozenset({"script", "iframe", "frame", "object", "embed", "base", "link", "applet"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        if tag in self.RUNNING:
            self.found.append(f"<{tag}>")
        for name, given in attrs:
            value = (given or "").strip()
            if name.startswith("on"):
                self.found.append(f"<{tag} {name}>")
            if name in self.LOADING and not value.startswith("data:"):
                self.found.append(f"<{tag} {name}={value[:80]}>")
            if name == "href" and not (value.startswith("#") or (tag == "a" and is_web_address(value))):
                self.found.append(f"<{tag} href={value[:80]}>")
            if name == "style":
                self._style(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self._style(data)

    def _style(self, css: str) -> None:
        self.found += [f"style: {match[:80]}" for match in re.findall(r"@import[^;]*|url\((?!['\"]?data:)[^)]*\)", css)]


def loads(page: str) -> list[str]:
    """Everything on a page that a browser would fetch or run; links that a person must click aside."""
    parser = _Loads()
    parser.feed(page)
    parser.close()
    return parser.found
