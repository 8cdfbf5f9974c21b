"""The page on which scores are read: curves, a heat map, tables and generations of all checkpoints in one HTML file
that loads nothing.

The charts are Vega's, and its script goes into the file whole, so the page opens from a disk, a mail or a browser
without a network and keeps working for as long as browsers run scripts. The price is 0.9 MB a page, a second to write
the first one, and an installed package of 84 MB. Plotly, the usual choice, is 4.8 MB a page, and a browser reads those
for more than a second before it draws anything; Vega's first curve stands after 0.6 seconds (``python -m
benchmarks.score_page`` measures it).

What models wrote and what tasks are called is data, not markup: the template escapes it and the scripts insert it as
text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from markupsafe import Markup

from neo_assets.pages import page as pages
from neo_assets.pages.charts import COLOURS
from neo_assets.scores.explained import explained

FOLDER = Path(__file__).with_name("page")
TEMPLATE, STYLE = FOLDER / "scores.html.j2", FOLDER / "scores.css"
SCRIPTS = (FOLDER / "page.js", FOLDER / "curves.js", FOLDER / "tables.js")
SOURCES = (TEMPLATE, STYLE, *SCRIPTS, *pages.FILES)
"""What the page is made of besides this module: no Python modules, so whoever caches a page counts them himself."""


class ScoreRow(TypedDict):
    """One score of one checkpoint."""

    run: str
    step: int
    tokens: int  # that its weights were trained on, by this run and its parents
    checkpoint: str
    task: str
    lang: str
    metric: str
    value: float
    stderr: float | None  # standard error of value
    n: int  # items scored
    shots: int
    requests: int | None
    cut: int | None  # requests that were longer than the model reads, and were cut from the left
    identity: str  # 12 hex of task definition, data and harness version: only scores of equal identity are comparable
    current: bool  # the identity is today's
    chance: float | None  # value of guessing
    higher_is_better: bool
    attempt: int  # 1, or more where the same checkpoint was scored again
    subset: str | None  # None is the whole task; else "clean" or "source:NAME"
    detectable: float | None  # smallest difference that n items can show
    main: bool  # the task's headline metric


class Comparator(TypedDict):
    """Another model's score, as its authors or a third party reported it."""

    model: str
    task: str
    value: float
    provenance: str  # such as "printed" or "read from a figure, ± 0.3"
    harness: str  # such as "other harness"


class Generation(TypedDict):
    """What one checkpoint wrote after one prompt."""

    run: str
    step: int
    checkpoint: str
    lang: str
    prompt: str
    continuation: str
    traced: str  # JSON: pieces [text, number of the passage or 0], and the passages; empty where it was not traced


class Gate(TypedDict):
    """A condition on a run's scores. One that failed stops a release if it is blocking, and is a warning otherwise."""

    name: str
    run: str
    passed: bool
    blocking: bool
    detail: str


class Absent(TypedDict):
    """A task that could not be scored."""

    task: str
    message: str  # such as "data not here: put it at …"


@dataclass(frozen=True)
class ScorePage:
    """Everything on the page. Raises ``ValueError`` naming the first row that lacks a key."""

    title: str
    description: str
    rows: Sequence[ScoreRow]
    suites: Mapping[str, Sequence[str]]  # suite -> tasks
    comparators: Sequence[Comparator] = ()
    generations: Sequence[Generation] = ()
    gates: Sequence[Gate] = ()
    absent: Sequence[Absent] = ()

    def __post_init__(self) -> None:
        for name, rows, kind in (
            ("rows", self.rows, ScoreRow),
            ("comparators", self.comparators, Comparator),
            ("generations", self.generations, Generation),
            ("gates", self.gates, Gate),
            ("absent", self.absent, Absent),
        ):
            for i, row in enumerate(rows):
                if lacking := kind.__annotations__.keys() - row.keys():
                    raise ValueError(f"{name}[{i}] lacks {', '.join(sorted(lacking))}")


def write_page(page: ScorePage, file: Path) -> None:
    """Write ``page`` as one HTML file. Equal pages give equal bytes as long as the installed Vega is the same."""
    file.write_bytes(render(page).encode("utf-8", "replace"))  # a byte-level model can write half a surrogate pair


def render(page: ScorePage) -> str:
    scripts = [path.read_text(encoding="utf-8") for path in SCRIPTS]
    data = {
        "rows": columnar(page.rows, list(ScoreRow.__annotations__)),
        "comparators": columnar(page.comparators, list(Comparator.__annotations__)),
        "generations": columnar(page.generations, list(Generation.__annotations__)),
        "suites": {suite: list(tasks) for suite, tasks in page.suites.items()},
        "languages": pages.LANGUAGES,
        "colours": COLOURS,
        "explained": {task: told for task in dict.fromkeys(r["task"] for r in page.rows) if (told := explained(task))},
    }
    values = {
        "title": page.title,
        "description": page.description,
        "failed": [g for g in page.gates if not g["passed"] and g["blocking"]],
        "warned": [g for g in page.gates if not g["passed"] and not g["blocking"]],
        "passed": [g for g in page.gates if g["passed"]],
        "absent": page.absent,
        "data": embedded(data),
        "scripts": [Markup(text) for text in scripts],
        "vega": Markup(vega()),
    }
    return pages.render(TEMPLATE, STYLE, values, [*scripts, vega()], styles=[pages.TRACED_STYLE])


# ------------------------------------------------------------------ data


def columnar(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> dict[str, object]:
    """Rows as columns. A column that repeats itself becomes its different ``values`` and where each stands, ``at``.

    20,000 rows take 1.5 MB instead of 8. Numbers that are not finite, which JSON cannot say, become null.
    """
    columns: dict[str, dict[str, list[object]]] = {}
    for name in names:
        column = [_sayable(row[name]) for row in rows]
        places = {value: i for i, value in enumerate(dict.fromkeys(column))}
        columns[name] = (
            {"values": list(places), "at": [places[v] for v in column]}
            if len(places) * 2 <= len(column)
            else {"values": column}
        )
    return {"count": len(rows), "columns": columns}


def _sayable(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def embedded(data: object) -> Markup:
    """JSON that can stand in a script element: nothing in it closes the element or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


# ------------------------------------------------------------------ scripts


@cache
def vega() -> str:
    """The script that draws the charts, as a module that defines ``vegaEmbed``. It needs no ``eval``."""
    import vl_convert  # brings a JavaScript engine, which a command line should not wait for

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("\r\n", "\n")
    if "</script" in script.lower():
        raise ValueError("Vega's script holds '</script' and cannot be written into a page")
    return script
