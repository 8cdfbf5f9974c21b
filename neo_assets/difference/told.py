"""How a difference is told: in tables for a terminal, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.store import Row
from neo_assets.core.words import counted
from neo_assets.difference.differing import Difference

TEMPLATE = Path(__file__).with_name("page") / "difference.html.j2"
STYLE = TEMPLATE.with_name("difference.css")
NOTHING = "Nothing is different in what they were made of."


def parts(found: Difference) -> list[tuple[str, str, Sequence[Row]]]:
    """(heading, a sentence, rows) of everything that differs, in the order in which a person asks."""
    documents = found.documents
    began = f"It begins in {', '.join(found.began)}: what both sides made it of was the same." if found.began else ""
    read = (
        f"{counted(documents.both, 'document')} in the text of both, {documents.only_a:,} of A alone,"
        f" {documents.only_b:,} of B alone."
    )
    otherwise = ""
    if found.asked_otherwise:
        otherwise = f" Not the same items on both sides, or asked of one alone: {', '.join(found.asked_otherwise)}."
    scores = (
        "The last checkpoints item by item; p corrected for all tasks (Holm), from..to 95 %: what differs by chance is"
        f" not what the differences above did.{otherwise}"
    )
    told: list[tuple[str, str, Sequence[Row]]] = [
        ("Recipe", "Settings, by what they are settings of.", found.recipe),
        ("Code", "Modules that made something on one side, and are not the same on the other.", found.code),
        ("Libraries", "", found.libraries),
        ("Machine", "Of the last checkpoints.", found.machine),
        ("Data", began, found.data),
        ("Documents", read, _examples(documents.examples_a, documents.examples_b)),
        ("Why A's alone are not in B", "", documents.why_not_b),
        ("Why B's alone are not in A", "", documents.why_not_a),
        ("Scores", scores, found.scores),
    ]
    return [part for part in told if part[2] or part[0] == "Documents" or (part[0] == "Scores" and otherwise)]


def _examples(a: Sequence[str], b: Sequence[str]) -> list[Row]:
    return [{"only": side, "for example": url} for side, urls in (("A", a), ("B", b)) for url in urls]


def heading(found: Difference) -> str:
    return f"A {found.a}, B {found.b}" + (f": {NOTHING}" if found.nothing else "")


def write_page(path: Path, found: Difference) -> None:
    """The difference as one file of HTML that loads nothing."""
    from neo_assets.pages.page import render

    values = {"a": found.a, "b": found.b, "nothing": NOTHING if found.nothing else "", "parts": parts(found)}
    records.write_text(path, render(TEMPLATE, STYLE, values))
