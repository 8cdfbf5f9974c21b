"""Pages of one HTML file that loads nothing: the frame and the style they share, and how values and texts are written.

What texts and artifacts say is data, not markup: the template escapes it; charts, drawn by us, and a page's own scripts
go in as they are. The page's Content-Security-Policy lets only the scripts run whose hashes it names and no request
leave, so that a crawled text cannot act even if an escape were missing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from neo_assets.core.store import Scalar
from neo_assets.core.words import number

FOLDER = Path(__file__).parent
FRAME, STYLE = FOLDER / "base.html.j2", FOLDER / "base.css"
TRACED, TRACED_STYLE = FOLDER / "traced.html.j2", FOLDER / "traced.css"
"""Texts with their passages, for pages that have some: see `neo_assets/trace`."""
FILES = (FRAME, STYLE, TRACED, TRACED_STYLE)
"""What pages are made of besides modules: whoever caches a page counts them himself."""
LANGUAGES = {"en": "English", "zh": "Chinese"}
_HTML_LANG = {"zh": "zh-Hans"}
_IN_THE_STORE = re.compile(r"\.\./\.\./[\w./-]+$")
"""A link from a page of the store to a file of another artifact."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


def render(
    template: Path,
    style: Path,
    values: Mapping[str, object],
    scripts: Sequence[str] = (),
    connects: bool = False,
    styles: Sequence[Path] = (),
    folders: Sequence[Path] = (),
    beside: bool = False,
) -> str:
    """The page of a template that extends the frame, with ``styles`` of parts that it includes, which lie in
    ``folders``. One with scripts ``beside`` it may run those; only one that ``connects`` may send requests, to where it
    came from. Raises ``UndefinedError`` for a name that it uses and ``values`` lacks.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "clean": clean, "html_lang": lambda lang: _HTML_LANG.get(lang, lang)}
    environment.tests |= {"web_address": is_web_address}
    css = "\n".join(file.read_text(encoding="utf-8") for file in (STYLE, *styles, style))
    frame = {
        "style": Markup(css),
        "script_hashes": [_hash(text) for text in scripts],
        "connects": connects,
        "beside": beside,
    }
    return environment.get_template(template.name).render({**frame, **values})


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# ------------------------------------------------------------------ values and texts


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


def is_web_address(url: str) -> bool:
    """Whether a URL may be a link: a crawled ``javascript:`` address may not."""
    return url.startswith(("http://", "https://"))


def from_markdown(text: str) -> str:
    """Markdown with tables as HTML; markup in it is text."""
    from markdown_it import MarkdownIt

    html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


# ------------------------------------------------------------------ what a page loads


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
            if name == "href" and not (
                value.startswith("#") or (tag == "a" and (is_web_address(value) or _IN_THE_STORE.match(value)))
            ):
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
