"""What the report consists of. It runs no script: a page with all its figures in it is some hundred kilobytes, and
nothing on it can be sorted or zoomed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from neo_assets.core.scalars import is_number
from neo_assets.core.store import Artifact, Row
from neo_assets.pages import page
from neo_assets.trace.written import Segment

TEMPLATE, STYLE = Path(__file__).with_name("report.html.j2"), Path(__file__).with_name("report.css")
BLOCKS = Path(__file__).with_name("blocks.html.j2")
FILES = (TEMPLATE, BLOCKS, STYLE, *page.FILES)


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

    @property
    def folder(self) -> str:
        """Its folder in the store, from where the page lies."""
        return f"../../{self.key}/{self.fingerprint}"


def refs(artifacts: Iterable[Artifact]) -> tuple[Ref, ...]:
    """References to artifacts, each once, in the order given."""
    return tuple(dict.fromkeys(Ref(a.key, a.fingerprint) for a in artifacts))


LONG = 6
"""Rows from which on a table is folded away."""


@dataclass(frozen=True)
class Table:
    caption: str
    rows: Sequence[Row]
    refs: tuple[Ref, ...]
    folded: bool = False
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
    """One or several charts under one caption."""

    caption: str
    drawings: Sequence[Markup]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Bar:
    """One stage of a funnel: what came in and what was kept; more where it cuts documents into several."""

    label: str
    rows_in: int
    kept: int

    @property
    def dropped(self) -> int:
        return self.rows_in - self.kept


@dataclass(frozen=True)
class FunnelBars:
    """What each stage kept and dropped, all on the scale of the largest."""

    title: str
    bars: Sequence[Bar]

    @property
    def widest(self) -> int:
        return max((bar.rows_in for bar in self.bars), default=0) or 1


@dataclass(frozen=True)
class Funnels:
    caption: str
    funnels: Sequence[FunnelBars]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "funnels"


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


@dataclass(frozen=True)
class RulesExamples:
    """What every rule dropped, folded under one line."""

    caption: str
    rules: Sequence[Examples]
    kind: ClassVar[str] = "dropped"


@dataclass(frozen=True)
class Pieces:
    """A text cut into tokens."""

    caption: str
    lang: str
    pieces: Sequence[str]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "pieces"


@dataclass(frozen=True)
class Continuation:
    """What a checkpoint wrote, in pieces; a piece that stands in the training pool has the number of what is told of
    it in ``passages``. ``id``: of its anchors on the page.
    """

    checkpoint: str
    id: str
    segments: Sequence[Segment]
    passages: Sequence[Mapping[str, object]] = ()

    @classmethod
    def of(cls, checkpoint: str, text: str) -> Continuation:
        """One that is not traced."""
        return cls(checkpoint, "", [Segment(text)])


@dataclass(frozen=True)
class Samples:
    """What the checkpoints wrote after one prompt, in the order of training."""

    caption: str
    lang: str
    prompt: str
    continuations: Sequence[Continuation]
    refs: tuple[Ref, ...]
    kind: ClassVar[str] = "samples"


@dataclass(frozen=True)
class Written:
    """What was written after one prompt: (checkpoint, continuation), the untrained model first."""

    lang: str
    prompt: str
    continuations: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    text: str
    heading: bool = False
    soft: bool = False
    kind: ClassVar[str] = "text"


Block = Table | Figure | Funnels | RulesExamples | Pieces | Samples | Text


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


def table(caption: str, rows: Sequence[Row], artifacts: Iterable[Artifact], folded: bool | None = None) -> list[Block]:
    """A table, or nothing when there are no rows; columns that only some rows have are filled with None. A long one is
    folded unless it is said otherwise.
    """
    if not rows:
        return []
    columns = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name) for name in columns} for row in rows]
    return [Table(caption, whole, refs(artifacts), len(rows) > LONG if folded is None else folded)]
