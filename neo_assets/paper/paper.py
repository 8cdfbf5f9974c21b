"""``paper``: the executable paper, as a page and as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from markupsafe import Markup
from pydantic import Field

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.manifest import MANIFEST, Manifest
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.written import Written
from neo_assets.core.store import Artifact, Check, Outcome, Scalar, Workspace
from neo_assets.pages import page
from neo_assets.paper.compared import VERDICTS, Row, all_rows, compared
from neo_assets.paper.statements import FILE as STATEMENTS
from neo_assets.paper.statements import read_statements
from neo_assets.paper.text import TEMPLATE, About, Places, paper_text

PAPER, PAGE, RECIPE = "paper.md", "paper.html", "recipe.yaml"
PAGE_TEMPLATE, STYLE = (TEMPLATE.with_name(n) for n in ("paper.html.j2", "paper.css"))
FILES = (TEMPLATE, PAGE_TEMPLATE, STYLE, STATEMENTS, *page.FILES)
"""What the paper is made of besides modules, artifacts and the recipe."""
_ON_THE_PAGE = re.compile(rf'href="({"|".join(map(re.escape, (PAPER, RECIPE, STATEMENTS.name)))})(?:#L(\d+))?"')


class PaperInput(Section):
    name: str
    description: str
    producer: str
    scored_run: str
    recipe_digest: str = Field(description="of the resolved recipe")
    written: dict[str, tuple[str, str, str]] = Field(
        description="place of the recipe: file and line, the reason given there, and by which section"
    )
    files_digest: str = Field(description="of templates, style and statements, which are no modules")


class Read:
    """What a paper takes measured values from: artifacts of a build. ``file``: where a file of one lies, from the
    paper.
    """

    def __init__(self, made: Mapping[str, Artifact], scored_run: str, file: Callable[[Artifact, str], str]) -> None:
        self._made, self._scored, self._file = made, f"evaluation/{scored_run}", file

    def manifest(self, key: str) -> tuple[Manifest, str] | None:
        artifact = self._made.get(key)
        return (artifact.manifest, self._file(artifact, MANIFEST)) if artifact else None

    def score(self, task: str) -> tuple[float, str] | None:
        value = last_score(self._rows, task)
        return None if value is None else (value, self._file(self._made[self._scored], "scores.json"))

    @cached_property
    def _rows(self) -> list[dict[str, Scalar]]:
        artifact = self._made.get(self._scored)
        if artifact is None or "scores.json" not in artifact.manifest.files:
            return []
        rows: list[dict[str, Scalar]] = json.loads(artifact.file("scores.json").read_text(encoding="utf-8"))
        return rows


def written_by(told: Mapping[str, Sequence[str]]) -> Callable[[str], Written]:
    """What the recipe's files say of a place, from (file and line, reason, section) by place."""

    def said(place: str) -> Written:
        at, why, of = told.get(place, ("", "", ""))
        return Written(at, why=why, of=of)

    return said


def scored_run(recipe: Recipe) -> str:
    """The run whose scores the paper's are held against: the released one, or the last that learns from text; "" of a
    recipe without runs.
    """
    plain = [run for run in recipe.runs if not recipe.tuned(run)]
    return recipe.released or next(reversed(plain or list(recipe.runs)), "")


def last_score(rows: list[dict[str, Scalar]], task: str, step: int | None = None) -> float | None:
    """A task's main score at a step, the last one if none is named; of several attempts, the first."""
    mine = [r for r in rows if r["task"] == task and r["headline"] and r["main"] and r["attempt"] == 1]
    steps = [int(str(row["step"])) for row in mine]
    wanted = max(steps, default=0) if step is None else step
    found = (row["value"] for row in mine if int(str(row["step"])) == wanted)
    value = next(found, None)
    return float(value) if isinstance(value, int | float) else None


def make_paper(
    config: PaperInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    recipe: Mapping[str, object],
    recipe_text: str,
) -> Outcome:
    """The executable paper: every table, threshold and number of MAP-Neo beside what this recipe says and what was
    measured, each with its source, and a verdict: same, changed and why, unknown in the paper, not run here.
    """
    evidence = Read(inputs, config.scored_run, lambda made, name: f"../../{made.key}/{made.fingerprint}/{name}")
    chapters = read_statements()
    by_chapter = compared(chapters, recipe, written_by(config.written), evidence)
    about = About(config.name, config.description, config.producer, recipe_text)
    text = paper_text(about, by_chapter, chapters, Places(PAPER, RECIPE, STATEMENTS.name))
    out.write_text(PAPER, text)
    out.write_text(RECIPE, recipe_text)
    out.write_text(STATEMENTS.name, STATEMENTS.read_text(encoding="utf-8"))
    html = _page(config.name, text, recipe_text)
    out.write_text(PAGE, html)
    rows, outside = list(all_rows(by_chapter)), page.loads(html)
    reasonless = [row.statement.id for row in rows if row.unexplained]
    return Outcome(
        digest=digest_json(text),
        numbers={"statements": len(rows), **{v: sum(row.verdict == v for row in rows) for v in VERDICTS}},
        tables={"statements": [_told(row) for row in rows]},
        checks=[
            Check(
                name="reasons_given",
                passed=not reasonless,
                detail=f"{len(reasonless)} say nothing: {', '.join(reasonless[:8])}"
                if reasonless
                else "each change has a reason",
                blocking=False,
            ),
            Check(
                name="self_contained",
                passed=not outside,
                detail="; ".join(outside[:5]) or "nothing on the page loads or runs anything",
            ),
        ],
    )


def _told(row: Row) -> dict[str, Scalar]:
    return {
        "statement": row.statement.id,
        "MAP-Neo": row.published,
        "here": row.ours or None,
        "verdict": row.verdict,
        "measured": row.measured.text if row.measured else None,
    }


def _page(recipe: str, text: str, recipe_text: str) -> str:
    """The paper as a page of its own, the recipe and the statements at its end, for links to lead to."""
    letter = {PAPER: "", RECIPE: "r", STATEMENTS.name: "s"}
    body = _ON_THE_PAGE.sub(lambda m: f'href="#{letter[m[1]]}{m[2] or ""}"', page.from_markdown(text))
    statements = STATEMENTS.read_text(encoding="utf-8")
    shown = [("r", "The recipe, resolved", recipe_text), ("s", "The statements", statements)]
    values = {
        "name": recipe,
        "body": Markup(body),
        "texts": [(mark, title, list(enumerate(lines.splitlines(), 1))) for mark, title, lines in shown],
    }
    return page.render(PAGE_TEMPLATE, STYLE, values)
