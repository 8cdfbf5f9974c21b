"""How a trace is told: in lines for a terminal, and as what a page's template takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neo_assets.core.words import counted
from neo_assets.trace.traced import Document, Told, Traced
from neo_assets.trace.written import Segment

TEMPLATE = Path(__file__).with_name("page") / "trace.html.j2"
STYLE = TEMPLATE.with_name("trace.css")
SHOWN_STEPS = 8
WIDTH = 300
"""Characters of a passage that the terminal shows; the page and JSON have all of it."""


def in_text(found: Traced, notes: Sequence[str]) -> str:
    """Lines for a terminal."""
    lines, several = [], sum(turn.traced for turn in found.turns) > 1
    for number, turn in enumerate(found.turns):
        text = "".join(map(_marked, segments(found, number)))
        lines += [f"{turn.role}: {text}" if turn.role else text, ""]
    lines.append(heading(found))
    for number, passage in enumerate(found.told, 1):
        where = f" of turn {passage.turn + 1} ({found.turns[passage.turn].role})" if several else ""
        lines += ["", f"{number}. “{_short(passage.text)}”  {_size(passage)}{where}"]
        for document in passage.documents:
            lines.append(f"   {title_of(document)} — {document.url} ({document.source}, {document.licence})")
            lines += [f"     {line}" for line in steps_in_words(document)]
    return "\n".join([*lines, *([""] if notes else []), *notes, "", found.note])


def heading(found: Traced) -> str:
    """What was looked for, and how much of it is told."""
    if not found.units:
        return "There is no word in it."
    told = f"{counted(len(found.told), 'passage')}, {found.covered / found.units:.0%} of {found.units:,} words or"
    told += f" characters, stand{'s' if len(found.told) == 1 else ''} in the training pool"
    if not found.told:
        told = f"No passage of its {found.units:,} words or characters is told"
    left = ((found.short, "shorter"), (found.common, "in too many places"), (found.more, "less rare"))
    rest = ", ".join(f"{n:,} {why}" for n, why in left if n)
    gone = f"; {found.withdrawn:,} more only in documents that were withdrawn" if found.withdrawn else ""
    if not found.told and not rest and not gone:
        return f"{told}: none stands in the training pool"
    return told + gone + (f" (not told: {rest}; --all tells them)" if rest else "")


def title_of(document: Document) -> str:
    return " ".join(document.title.split()) or document.doc_id


def steps_in_words(document: Document) -> list[str]:
    """A line for each run that read the passage there, or has the document in its text; one for all, where none has."""
    lines = []
    for read in document.read:
        whose = "" if read.exact else "; steps of the whole document: its tokens are not its text's"
        if read.steps:
            shown = ", ".join(map(str, read.steps[:SHOWN_STEPS]))
            more = f" and {len(read.steps) - SHOWN_STEPS:,} more" if len(read.steps) > SHOWN_STEPS else ""
            times = f"read {len(read.steps)} times, in steps" if len(read.steps) > 1 else "read in step"
            lines.append(f"{read.run}: {times} {shown}{more} of {read.until:,}{whose}")
        elif read.held:
            lines.append(f"{read.run}: in its text, but no step up to {read.until:,} came to it")
    if document.read and not lines:
        return [f"in the corpus, never trained on by {', '.join(read.run for read in document.read)}"]
    return lines


def _size(passage: Told) -> str:
    places = f", in {counted(passage.count, 'place')}"
    if passage.count > len(passage.documents):
        places += f", {len(passage.documents)} told"
    return f"{counted(passage.units, 'word')} or characters{places}"


def _marked(segment: Segment) -> str:
    return f"⟦{segment.passage}: {segment.text}⟧" if segment.passage else segment.text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH // 2]} … {line[-WIDTH // 2 :]}"


# ------------------------------------------------------------------ for a page


def segments(found: Traced, turn: int) -> list[Segment]:
    """A turn's text in pieces."""
    text = found.turns[turn].text
    owner = [0] * len(text)
    numbered = [(t.rarity, number, t) for number, t in enumerate(found.told, 1) if t.turn == turn]
    for _, number, told in sorted(numbered, key=lambda row: row[:2]):
        owner[told.begin : told.end] = [number] * (told.end - told.begin)
    out: list[Segment] = []
    begin = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or owner[end] != owner[begin]:
            out.append(Segment(text[begin:end], owner[begin]))
            begin = end
    return out


def passages(found: Traced) -> list[dict[str, object]]:
    """What a page tells of each passage."""
    return [
        {
            "number": number,
            "text": passage.text,
            "told": _size(passage),
            "open": len(found.told) == 1,
            "documents": [
                {
                    "title": title_of(document),
                    "steps": steps_in_words(document),
                    **{
                        name: getattr(document, name)
                        for name in ("url", "doc_id", "source", "licence", "lang", "before", "text", "after")
                    },
                }
                for document in passage.documents
            ],
        }
        for number, passage in enumerate(found.told, 1)
    ]


def write_page(path: Path, found: Traced, notes: Sequence[str]) -> None:
    """The trace as one file of HTML that loads nothing."""
    from neo_assets.pages.page import TRACED_STYLE, render

    turns = [
        {"role": turn.role, "traced": turn.traced, "segments": segments(found, number)}
        for number, turn in enumerate(found.turns)
    ]
    values = {
        "heading": heading(found),
        "note": found.note,
        "notes": notes,
        "turns": turns,
        "told": passages(found),
    }
    html = render(TEMPLATE, STYLE, values, styles=[TRACED_STYLE])
    path.write_text(html, encoding="utf-8", errors="replace")
