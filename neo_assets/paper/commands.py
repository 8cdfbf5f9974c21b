"""`neo paper`: what MAP-Neo says beside what the recipe says and what its build measured, computed now."""

from __future__ import annotations

from typing import Annotated

import typer

from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import identity, load
from neo_assets.core.store import Artifact, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.paper.compared import VERDICTS, Row, all_rows, artifacts, compared
from neo_assets.paper.paper import PAGE, Read, scored_run
from neo_assets.paper.statements import read_statements
from neo_assets.paper.text import in_short, verdict_in_words

_UNEXPLAINED = "unexplained"
_SHORT = {"unknown": VERDICTS[2], "not-run": VERDICTS[3]}


def paper(
    chapter: Annotated[str | None, typer.Argument(help="a part of a chapter's name, as 'tokenizer' or 'decay'")] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="same, changed, unknown, not-run, measured, or unexplained")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """MAP-Neo's tables, thresholds and numbers beside what the recipe says and what was measured, one by one: same,
    changed (with the reason that the recipe's file gives), unknown in the paper, not run here, measured.
    """
    recipe, store, chapters = load(), Store(store_root()), read_statements()
    named = {*artifacts(chapters, identity(recipe)), f"evaluation/{scored_run(recipe)}"}
    made = {key: found for key in sorted(named) if (found := _head(store, recipe.name, key))}
    evidence = Read(made, scored_run(recipe), lambda artifact, name: f"{artifact.key}/{artifact.fingerprint}/{name}")
    by_chapter = compared(chapters, identity(recipe), recipe.written, evidence)
    wanted = {name: rows for name, rows in by_chapter.items() if (chapter or "").lower() in name.lower()}
    if not wanted:
        raise BadInput(
            f"no chapter is called so.{did_you_mean(chapter or '', by_chapter)} There are: {', '.join(by_chapter)}"
        )
    if verdict is not None and verdict != _UNEXPLAINED and _SHORT.get(verdict, verdict) not in VERDICTS:
        raise BadInput(f"--verdict: {verdict} is none of {', '.join([*_SHORT, *VERDICTS, _UNEXPLAINED])}")
    shown = {
        name: [
            row
            for row in rows
            if verdict is None or verdict == _UNEXPLAINED or row.verdict == _SHORT.get(verdict, verdict)
        ]
        for name, rows in wanted.items()
    }
    if verdict == _UNEXPLAINED:
        shown = {name: [row for row in rows if row.unexplained] for name, rows in shown.items()}
    if as_json:
        show([{"chapter": name, **_whole(row)} for name, rows in shown.items() for row in rows], as_json=True)
    else:
        for name, rows in shown.items():
            if rows:
                show([_line(row) for row in rows], as_json=False, title=f"{name}\n")
                print()
        print(in_short(wanted))
        without = [row.statement.id for row in all_rows(wanted) if row.unexplained]
        if without:
            print(f"{len(without)} differ, and no comment ('ours: …') says why: {', '.join(without)}")
        page = store.head_pointer(recipe.name, "paper")
        if page:
            print(f"the page of the last build: {store.folder(*page) / PAGE}")


def _line(row: Row) -> dict[str, object]:
    """A row of the terminal: what other sources say is told on the page."""
    return {
        "statement": row.statement.what,
        "MAP-Neo": row.published.partition("; ")[0] if row.statement.also else row.published,
        "here": row.ours if row.place else "",
        "measured": row.measured.text if row.measured else "",
        "verdict": verdict_in_words(row),
    }


def _whole(row: Row) -> dict[str, object]:
    return {
        "id": row.statement.id,
        "statement": row.statement.what,
        "MAP-Neo": row.published,
        "from": row.statement.source,
        "recipe": row.place or None,
        "here": row.ours or None,
        "verdict": row.verdict,
        "why": row.written.why or None,
        "written_at": row.written.at or None,
        "measured": row.measured.text if row.measured else None,
        "measured_in": row.measured.file if row.measured else None,
    }


def _head(store: Store, recipe: str, key: str) -> Artifact | None:
    return store.head(recipe, key) if store.head_pointer(recipe, key) else None
