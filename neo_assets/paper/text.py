"""The paper as text: Markdown, in which every number leads to the file that has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from neo_assets.core.words import counted
from neo_assets.pages.sourced import Sourced, compiled, name
from neo_assets.paper.compared import CHANGED, MEASURED, NOT_RUN, SAME, UNKNOWN, VERDICTS, Row, all_rows
from neo_assets.paper.statements import SOURCES, Chapter

TEMPLATE = Path(__file__).parent / "pages" / "paper.md.j2"
LICENCE = "CC-BY-4.0"
_SPECIAL = re.compile(r"([\\|<>\[\]*_`])")
_MEANS = {
    SAME: "the recipe says what the paper says",
    CHANGED: "the recipe says otherwise; the reason is the one in its file",
    UNKNOWN: "no source of the paper has the value; what the recipe chose stands beside it",
    NOT_RUN: "the recipe says nothing of it, or nothing measured it",
    MEASURED: "a result beside the paper's; another model on other text need not share it",
}


@dataclass(frozen=True)
class Places:
    """Where the files lie that the paper leads to, as its own place has them: the resolved recipe, and statements."""

    paper: str
    recipe: str
    statements: str


@dataclass(frozen=True)
class About:
    """The recipe that a paper is of: its name, what it says of itself, who answers for it, and its resolved text."""

    recipe: str
    says: str
    producer: str
    text: str


def paper_text(
    about: About, by_chapter: Mapping[str, Sequence[Row]], chapters: Mapping[str, Chapter], at: Places
) -> str:
    """The paper, whose recipe is written at ``at.recipe``. Raises NotTraced for a number without a source."""
    lines = lines_of(about.text)
    rows = list(all_rows(by_chapter))
    n = Counter(row.verdict for row in rows)
    values = {
        "recipe": name(markdown(about.recipe)),
        "recipe_says": Sourced(markdown(about.says), f"{at.recipe}#L{lines.get('description', 1)}"),
        "producer": name(markdown(about.producer)),
        "counts": [{"verdict": v, "n": Sourced(n[v], at.paper), "means": _MEANS[v]} for v in VERDICTS],
        "unexplained": [{"what": name(markdown(row.statement.what))} for row in rows if row.unexplained],
        "chapters": [
            {
                "name": name(markdown(chapter)),
                "of": name(markdown(_capital(chapters[chapter].of))),
                "note": name(markdown(chapters[chapter].note)),
                "rows": [_shown(row, lines, at) for row in told],
            }
            for chapter, told in by_chapter.items()
        ],
    }
    return compiled(TEMPLATE, values, at.paper)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(row: Row, lines: Mapping[str, int], at: Places) -> dict[str, object]:
    told = row.statement
    note = f" ({markdown(told.note)})" if told.note else ""
    published = Sourced(markdown(row.published), f"{at.statements}#L{told.line}")
    ours: object = "–"
    if row.place:
        # A list or section is on the line of its name.
        ours = Sourced(markdown(row.ours), f"{at.recipe}#L{lines[row.place]}")
    return {
        "what": name(markdown(told.what) + note),
        "published": published,
        "source": SOURCES[told.source],
        "ours": ours,
        "verdict": name(markdown(verdict_in_words(row))),
        "measured": Sourced(markdown(row.measured.text), row.measured.file) if row.measured else "–",
    }


def verdict_in_words(row: Row) -> str:
    """same; changed, with the reason."""
    told = row.verdict
    if row.verdict == CHANGED:
        if row.agrees_with:
            told += f", as {row.agrees_with}"
        if row.written.why:
            of = f"{row.written.of}: " if row.written.of else ""  # a section's reason is told as that
            told += f"; {of}{row.written.why.removeprefix('ours: ')}"
        elif row.ours and not row.place:
            told += f"; {row.ours}"
        else:
            told += "; the recipe does not say why"
    return told + (f" ({row.written.at})" if row.written.at and row.verdict == CHANGED else "")


def in_short(by_chapter: Mapping[str, Sequence[Row]]) -> str:
    """A line: how many statements are what."""
    n = Counter(row.verdict for row in all_rows(by_chapter))
    return f"{counted(n.total(), 'statement')}: " + ", ".join(f"{n[v]} {v}" for v in VERDICTS if n[v])


def markdown(text: str) -> str:
    """A text as it is, in a cell of a table."""
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def lines_of(text: str) -> dict[str, int]:
    """By place, ``runs.main.steps``: the line of a YAML text that it begins on, from one."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, place: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                at = f"{place}.{key.value}" if place else str(key.value)
                found[at] = key.start_mark.line + 1
                walk(value, at)

    walk(yaml.compose(text, Loader=yaml.SafeLoader), "")
    return found
