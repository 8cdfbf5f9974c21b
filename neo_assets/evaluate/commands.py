"""`neo eval`, `neo scores`, `neo compare`, `neo tasks`, `neo fetch-benchmarks`: ask models, read what they scored, tell
them apart.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neo_assets.core.errors import BadInput, NeoError, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Artifact, Row, Store
from neo_assets.core.terminal import JSON, counted, show

if TYPE_CHECKING:
    from neo_assets.evaluate.score import Scorer, Subject

MODEL = "RUN@STEP (main@40, main@last) or a Hugging Face folder"
SUITE = typer.Option(
    "--suite", "-s", metavar="SUITE", help="a suite of the recipe; again for more; those the factory asks if left out"
)
SHORT = 12


def register(app: typer.Typer) -> None:
    app.command("eval")(evaluate)
    for command in (scores, compare, tasks):
        app.command()(command)
    app.command("fetch-benchmarks")(fetch_benchmarks)


# ------------------------------------------------------------------ ask


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL)],
    suite: Annotated[list[str] | None, SUITE] = None,
    as_json: bool = JSON,
) -> None:
    """Ask a model the tasks of a suite, offline; what it was asked before is not asked again."""
    from neo_assets.evaluate.score import score_rows

    recipe, store = load(), Store(store_root())
    _known_suites(recipe, suite)
    mine = _scorer(recipe, store, suite, quiet=as_json)
    subject = _subject(model, recipe, store, quiet=as_json)
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
            f"\n{subject.run} {subject.name}: {counted(len(rows), 'task')},"
            f" {counted(len([n for n in made_now if n != 'samples']), 'score')} made now"
        )


def _shown(row: Row) -> Row:
    shown = {k: row[k] for k in ("task", "metric", "value", "stderr", "detectable", "n", "shots", "cut", "chance")}
    return shown | {"identity": str(row["identity"])[:SHORT]}


def _known_suites(recipe: Recipe, suites: list[str] | None) -> None:
    for suite in suites or []:
        if suite not in recipe.evaluation.suites:
            raise BadInput(
                f"the recipe has no suite '{suite}'.{did_you_mean(suite, recipe.evaluation.suites)} There are:"
                f" {', '.join(recipe.evaluation.suites)}"
            )


def _scorer(recipe: Recipe, store: Store, suites: list[str] | None, quiet: bool) -> Scorer:
    from neo_assets.evaluate.score import Scorer, score_input
    from resources.compute import open_compute

    compute = open_compute(recipe.compute, store.root)
    return Scorer(
        store,
        compute,
        score_input(recipe, suites),
        recipe.evaluation.threads,
        _todays_tasks(recipe, store),
        (lambda _: None) if quiet else print,
    )


def _todays_tasks(recipe: Recipe, store: Store) -> list[Artifact]:
    """Benchmarks as their data are now, and the tasks made of held-out documents if the recipe's
    build has come so far.
    """
    from neo_assets.evaluate.benchmark_items import current_benchmarks
    from neo_assets.evaluate.score import HELDOUT

    made = store.head_pointer(recipe.name, HELDOUT)
    return [current_benchmarks(recipe, store, lambda _: None), *([store.require(*made)] if made else [])]


def _subject(model: str, recipe: Recipe, store: Store, quiet: bool) -> Subject:
    """The model a person names. A checkpoint is exported if it has not been."""
    from neo_assets.evaluate.models import Exporter, export_input, from_elsewhere
    from neo_assets.evaluate.score import Subject
    from neo_assets.pretrain.runs import find_run, run_and_step
    from resources.compute import open_compute

    if Path(model).expanduser().is_dir():
        return from_elsewhere(Path(model))
    if "/" in model:
        raise BadInput(
            f"{model} is a file; a model is a Hugging Face folder"
            if Path(model).expanduser().is_file()
            else f"there is no folder {model}"
        )
    run, step = run_and_step(model)
    _, folder = find_run(store, recipe, run).checkpoint(step)
    exporter = Exporter(
        store,
        open_compute(recipe.compute, store.root),
        recipe.name,
        export_input(recipe, run),
        store.head(recipe.name, "tokenizer"),
        (lambda _: None) if quiet else print,
    )
    made = store.require(f"checkpoint/{run}", folder.name)
    return Subject.of(run, made, exporter.exported(made)[0])


# ------------------------------------------------------------------ read


def tasks(
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", metavar="SUITE", help="a suite of the recipe; again for more; all if left out"),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Every task of every suite: items, shots, and for those without data what to do."""
    from neo_assets.evaluate.score import absent_tasks, asked_tasks, score_input
    from training.tasks import task_identity

    recipe, store = load(), Store(store_root())
    _known_suites(recipe, suite)
    artifacts = _todays_tasks(recipe, store)
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
    from neo_assets.pretrain.asked import not_anothers

    recipe, store = load(), Store(store_root())
    _known_suites(recipe, suite)
    wanted = set(recipe.asked(suite)) if suite else None
    table = read_scores(store)
    mine = {name: not_anothers(store, recipe.name, name) for name in recipe.runs}
    rows: list[Row] = [
        r
        for r in table.to_pylist()
        if r["value"] is not None
        and (run is None or r["run"] == run)
        and (wanted is None or r["task"] in wanted)
        and (r["run"] not in mine or mine[r["run"]](r["checkpoint"].rpartition("-")[2]))
    ]
    if run is not None and not rows:
        there = sorted(set(table.column("run").to_pylist()))
        if run in there and wanted is None:
            raise BadInput(
                f"there is no score of a run '{run}' of recipe '{recipe.name}'; those there are, are others'"
            )
        if run in there:
            raise BadInput(f"'{run}' has no score of a task of {', '.join(suite or [])}; `neo eval` makes some")
        at = " A run without its step is asked for here." if "@" in run else ""
        raise BadInput(f"there is no score of '{run}'.{at} There are scores of: {', '.join(there) or 'nothing yet'}")
    if not history:
        newest: dict[tuple[str, ...], Row] = {}
        for row in rows:
            if row["main"] and row["subset"] is None:
                # Two models from elsewhere may have folders of one name; checkpoints of a run follow each other.
                model = (str(row["checkpoint"]),) if str(row["run"]).startswith(f"{ELSEWHERE}.") else ()
                where = (str(row["run"]), *model, str(row["task"]))
                order = (int(str(row["step"])), str(row["made_at"]))
                if where not in newest or order >= (int(str(newest[where]["step"])), str(newest[where]["made_at"])):
                    newest[where] = row
        rows = list(newest.values())
    columns = [
        "run",
        "step",
        "checkpoint",
        "task",
        "metric",
        "value",
        "stderr",
        "detectable",
        "n",
        "shots",
        "cut",
        "chance",
    ] + (["subset", "attempt", "made_at"] if history else [])
    show(
        [{k: r[k] for k in columns} | {"identity": str(r["identity"])[:SHORT]} for r in rows],
        as_json,
        empty="no scores yet; `neo eval MODEL` makes some",
    )


# ------------------------------------------------------------------ tell apart


def compare(
    a: Annotated[str, typer.Argument(help=MODEL)],
    b: Annotated[str, typer.Argument(help=MODEL)],
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
    from neo_assets.evaluate.compare import holm, paired
    from neo_assets.evaluate.index import read_items
    from neo_assets.evaluate.score import score_rows

    recipe, store = load(), Store(store_root())
    _known_suites(recipe, suite)
    mine = _scorer(recipe, store, suite, quiet=as_json)
    sides: list[dict[str, Row]] = []
    for model in (a, b):
        found, _ = mine.scored(_subject(model, recipe, store, quiet=as_json))
        sides.append({str(r["task"]): r for r in score_rows(found, 1) if r["main"] and r["subset"] is None})
    pairs = []
    for task, row in sides[0].items():
        folders = [f"eval_scores/{side[task]['run']}/{side[task]['fingerprint']}/{task}.items.jsonl" for side in sides]
        pairs.append((row, paired(read_items(store, folders[0]), read_items(store, folders[1]))))
    rows: list[Row] = []
    for (row, d), p in zip(pairs, holm([d.p for _, d in pairs]), strict=True):
        verdict = (
            "no difference found"
            if p >= alpha
            else "B is worse"
            if d.worse(bool(row["higher_is_better"])) > 0
            else "B is better"
        )
        rows.append(
            {
                "task": row["task"],
                "metric": row["metric"],
                "A": d.a,
                "B": d.b,
                "B-A": d.difference,
                "from": d.low,
                "to": d.high,
                "p": p,
            }
            | {"items": d.n, "only A": d.only_a, "only B": d.only_b, "verdict": verdict}
        )
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


# ------------------------------------------------------------------ fetch


def fetch_benchmarks(
    names: Annotated[
        list[str] | None, typer.Argument(help="benchmarks of the recipe; all that have a url if left out")
    ] = None,
) -> None:
    """Download benchmarks' data to where the recipe looks for them. Nothing else in evaluation uses a network."""
    from neo_assets.evaluate.fetch import fetch_benchmark

    recipe = load()
    known = recipe.evaluation.benchmarks
    for name in names or []:
        if name not in known:
            raise BadInput(
                f"the recipe has no benchmark '{name}'.{did_you_mean(name, known) or ' There are: ' + ', '.join(known)}"
            )
    failed = 0
    for name in names or [n for n, b in known.items() if b.url]:
        try:
            place, fetched = fetch_benchmark(name, known[name])
            print(f"{name}: {'fetched into' if fetched else 'already in'} {place}")
        except NeoError as error:
            failed += 1
            print(f"{name}: {error}")
    if failed:
        raise typer.Exit(2)
