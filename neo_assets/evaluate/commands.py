"""`neo eval`, `neo tasks`: ask a model, and see what there is to ask."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from neo_assets.core.completion import CHECKPOINTS, SUITES
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import at, counted
from neo_assets.evaluate.by_hand import MODEL, SHORT, SUITE, known_suites, scorer_of, subject_of, todays_tasks
from neo_assets.evaluate.rows import ScoreRow, columns


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    suite: Annotated[list[str] | None, SUITE] = None,
    as_json: bool = JSON,
) -> None:
    """Ask a model the tasks of a suite, offline; what it was asked before is not asked again."""
    from neo_assets.evaluate.score import score_rows

    recipe, store = load(), Store(store_root())
    known_suites(recipe, suite)
    mine = scorer_of(recipe, store, suite, quiet=as_json)
    subject = subject_of(model, recipe, store, quiet=as_json)
    try:
        found, made_now = mine.scored(subject)
    except KeyboardInterrupt:
        print(
            "\nneo: left; the job goes on. Ask again to attach to it; `neo jobs` lists it, `neo cancel JOB` stops it.",
            file=sys.stderr,
        )
        raise
    rows = [r for r in score_rows(found, 1) if r["main"] and r["subset"] is None]
    show([_shown(r) for r in rows], as_json)
    if not as_json:
        for absent in mine.absent():
            print(f"{absent.name}: {absent.message}")
        print(
            f"\n{at(subject.run, subject.name)}: {counted(len(rows), 'task')},"
            f" {counted(len([n for n in made_now if n != 'samples']), 'score')} made now"
        )


def _shown(row: ScoreRow) -> Row:
    shown = columns(row, ("task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance"))
    return shown | {"identity": row["identity"][:SHORT]}


def tasks(
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            "-s",
            metavar="SUITE",
            autocompletion=SUITES,
            help="a suite of the recipe; again for more; all if left out",
        ),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Every task of every suite: items, shots, and for those without data what to do."""
    from neo_assets.evaluate.score import absent_tasks, asked_tasks, score_input
    from training.tasks import task_identity

    recipe, store = load(), Store(store_root())
    known_suites(recipe, suite)
    artifacts = todays_tasks(recipe, store)
    rows: list[Row] = []
    for shown in suite or recipe.evaluation.suites:
        score = score_input(recipe, [shown])
        there, absent = asked_tasks(score, artifacts), absent_tasks(score, artifacts)
        for name in score.tasks:
            task = there.get(name)
            row: Row = {
                "suite": shown,
                "task": name,
                "lang": task.lang if task else None,
                "metric": task.metric if task else None,
                "items": task.items if task else None,
            }
            row |= {
                "shots": task.shots if task else None,
                "chance": task.chance if task else None,
                "licence": task.licence if task else None,
            }
            rows.append(
                row
                | {
                    "identity": task_identity(task)[:SHORT] if task else None,
                    "note": "" if task else absent[name].message,
                }
            )
    show(rows, as_json)
