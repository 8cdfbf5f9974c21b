"""`neo scores`, `neo compare`: read what models scored, and tell two apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated

import typer

from neo_assets.core.completion import CHECKPOINTS
from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import counted
from neo_assets.evaluate.by_hand import MODEL, SHORT, SUITE, known_suites, scorer_of, subject_of
from neo_assets.evaluate.rows import ScoreRow, columns

SHOWN = (
    "run", "step", "checkpoint", "task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance",
)  # fmt: skip
HISTORY = ("subset", "attempt", "made_at")


def scores(
    run: Annotated[
        str | None,
        typer.Argument(help="a run of the recipe, or what `neo eval FOLDER` called a folder; all if left out"),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite", "-s", metavar="SUITE", help="a suite of the recipe; again for more; every task if left out"
        ),
    ] = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history", help="every checkpoint, identity, metric, subset and attempt instead of the newest main scores"
        ),
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Scores in the store: the newest of each run and task, or all there ever were. Other recipes' runs of the same
    names are left out.
    """
    from neo_assets.evaluate.index import read_scores
    from neo_assets.evaluate.models import ELSEWHERE
    from neo_assets.runs.asked import not_anothers

    recipe, store = load(), Store(store_root())
    known_suites(recipe, suite)
    wanted = set(recipe.asked(suite)) if suite else None
    table = read_scores(store)
    named = {str(name) for name in table.column("run").to_pylist()}
    mine = {name: not_anothers(store, recipe.name, name) for name in named if not name.startswith(f"{ELSEWHERE}.")}
    rows: list[ScoreRow] = [
        r
        for r in table.to_pylist()
        if r["value"] is not None
        and (run is None or r["run"] == run)
        and (wanted is None or r["task"] in wanted)
        and (r["run"] not in mine or mine[r["run"]](r["checkpoint"].rpartition("-")[2]))
    ]
    if run is not None and not rows:
        raise BadInput(_no_score(run, recipe.name, suite, sorted(set(table.column("run").to_pylist()))))
    names = [*SHOWN, *(HISTORY if history else ())]
    show(
        [columns(r, names) | {"identity": r["identity"][:SHORT]} for r in (rows if history else _newest(rows))],
        as_json,
        empty="no scores yet; `neo eval MODEL` makes some",
    )


def _no_score(run: str, recipe: str, suite: list[str] | None, there: list[str]) -> str:
    """Why a run has no scores to be shown."""
    if run in there and not suite:
        return f"there is no score of a run '{run}' of recipe '{recipe}'; those there are, are others'"
    if run in there:
        return f"'{run}' has no score of a task of {', '.join(suite or [])}; `neo eval` makes some"
    at = " A run without its step is asked for here." if "@" in run else ""
    return f"there is no score of '{run}'.{at} There are scores of: {', '.join(there) or 'nothing yet'}"


def _newest(rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """The newest main score of each run and task."""
    from neo_assets.evaluate.models import ELSEWHERE

    newest: dict[tuple[str, ...], ScoreRow] = {}
    for row in rows:
        if row["main"] and row["subset"] is None:
            # Two models from elsewhere may have folders of one name; checkpoints of a run follow each other.
            model = (row["checkpoint"],) if row["run"].startswith(f"{ELSEWHERE}.") else ()
            where = (row["run"], *model, row["task"])
            order = (row["step"], row["made_at"])
            if where not in newest or order >= (newest[where]["step"], newest[where]["made_at"]):
                newest[where] = row
    return list(newest.values())


def compare(
    a: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    b: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    suite: Annotated[list[str] | None, SUITE] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="chance of calling equals different, over all tasks shown")
    ] = 0.05,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="exit with 1 if B is worse than A on any task")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Two models item by item: what differs by more than chance. Missing scores are made first."""
    from neo_assets.evaluate.index import read_items
    from neo_assets.evaluate.score import score_rows
    from neo_assets.scores.paired import holm, judged, paired

    recipe, store = load(), Store(store_root())
    known_suites(recipe, suite)
    mine = scorer_of(recipe, store, suite, quiet=as_json)
    sides: list[dict[str, ScoreRow]] = []
    for model in (a, b):
        found, _ = mine.scored(subject_of(model, recipe, store, quiet=as_json))
        sides.append({r["task"]: r for r in score_rows(found, 1) if r["main"] and r["subset"] is None})
    pairs = []
    for task, scored in sides[0].items():
        folders = [f"eval_scores/{side[task]['run']}/{side[task]['fingerprint']}/{task}.items.jsonl" for side in sides]
        pairs.append((scored, paired(read_items(store, folders[0]), read_items(store, folders[1]))))
    rows = judged(pairs, holm([difference.p for _, difference in pairs]), alpha)
    show(rows, as_json)
    if not as_json:
        told: dict[str, int] = defaultdict(int)
        for row in rows:
            told[str(row["verdict"])] += 1
        print(
            f"\nA {a}, B {b}: {', '.join(f'{verdict} on {n}' for verdict, n in told.items())}. Paired by item; p"
            f" corrected for {counted(len(rows), 'task')} (Holm); from..to: 95 %."
        )
    if fail_if_worse and any(row["verdict"] == "B is worse" for row in rows):
        raise typer.Exit(1)
