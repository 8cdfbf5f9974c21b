"""``comparison``: the gates, the comparisons behind them, published scores, and the page on which all of it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from neo_assets.core.fingerprint import ROOT, digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.evaluation import CHAT, Gates
from neo_assets.core.store import Artifact, Outcome, Row, Store, Workspace
from neo_assets.core.words import at
from neo_assets.evaluate.best import best, by_checkpoint
from neo_assets.evaluate.index import read_items, read_scores, written
from neo_assets.evaluate.rows import ScoreRow
from neo_assets.evaluate.score import SAMPLES, Subject
from neo_assets.scores.clean_scores import CLEAN
from neo_assets.scores.gates import Finding, Items, Judged, Reference, judge
from neo_assets.scores.published import read_published
from neo_assets.scores.score_matrix import FILE
from neo_assets.scores.score_page import SOURCES, ScorePage, write_page
from neo_assets.trace.written import SAMPLES as TRACED
from neo_assets.trace.written import read_traced
from training.tasks import read_absent

PAGE = "scores.html"
PARTS = 12
"""Hex digits of an identity that people see."""


class ComparisonInput(Section):
    """What this stage reads of the recipe. ``parents``: the run each starts from, and its step, None for the last."""

    recipe: str
    description: str
    parents: dict[str, tuple[str, int | None]]
    from_elsewhere: list[str] = Field(description="runs whose first weights were trained already")
    tuned: list[str] = Field(default_factory=list, description="runs that were fine-tuned on conversations")
    asked: list[str] = Field(description="tasks that every due checkpoint is asked: those that gates look at")
    suites: dict[str, list[str]]
    gates: Gates
    published: list[str]
    files_digest: str = Field(description="of the published scores and of the page's own parts")
    baseline: str = Field(default="", description="the baseline's content and scores, found when it is compared")


def compare_runs(
    config: ComparisonInput, inputs: Mapping[str, Artifact], out: Workspace, *, store: Store, baseline: Subject | None
) -> Outcome:
    """Gates on each run's last evaluated checkpoint, item by item against its parent, the best checkpoint and the
    baseline; and the page of all scores.

    A blocking gate that refuses stops what is released after it. Published scores of other models are shown beside,
    marked "other harness".
    """
    rows: list[ScoreRow] = inputs["score_matrix"].table(FILE).to_pylist()
    today = [r for r in rows if r["current"] and r["task"] != SAMPLES and r["attempt"] == 1]
    checkpoints = by_checkpoint([r for r in today if r["task"] in config.asked])
    elsewhere = _baseline(store, baseline, config.asked, {r["identity"] for r in today}) if baseline else None
    continuations = {
        (r["run"], r["checkpoint"]): written(store, r["samples"])
        for r in rows
        if r["task"] == SAMPLES and r["attempt"] == 1
    }
    answers = _answers(config, today)
    judged = [_judged(config, run, checkpoints, continuations, elsewhere, answers) for run in checkpoints]
    clean = [r for r in today if r["subset"] == CLEAN and r["task"] in config.asked]
    checks, findings = judge(config.gates, judged, _reader(store), clean)
    page = _page(
        config,
        rows,
        continuations,
        inputs,
        elsewhere,
        [{"name": c.name, "run": "", "passed": c.passed, "blocking": c.blocking, "detail": c.detail} for c in checks],
    )
    write_page(page, out.path / PAGE)
    shown = [_finding(f, config.gates.regression.alpha) for f in findings]
    out.write_text("comparisons.json", json.dumps(shown, ensure_ascii=False, indent=1))
    return Outcome(
        digest=digest_json(
            [shown, [c.model_dump() for c in checks], inputs["score_matrix"].manifest.digest, config.files_digest]
        ),
        numbers={"comparisons": len(shown), "worse": sum(f.regressed for f in findings), "page": PAGE},
        tables={
            "last checkpoints compared": shown,
            "other models, as published": [
                r for r in read_published(published_files(config.published)) if r["task"] in _tasks(config)
            ],
        },
        checks=checks,
    )


def files_digest(published: Sequence[str]) -> str:
    """Digest of what the page is made of besides modules and scores."""
    return digest_json([digest_file(f) for f in (*published_files(published), *SOURCES) if f.is_file()])


def published_files(names: Sequence[str]) -> list[Path]:
    return [ROOT / name for name in names]


def _tasks(config: ComparisonInput) -> dict[str, None]:
    """Every task of every suite, in the recipe's order."""
    return dict.fromkeys(task for tasks in config.suites.values() for task in tasks)


def _baseline(store: Store, subject: Subject, asked: Sequence[str], identities: set[str]) -> Reference:
    rows = [
        r
        for r in read_scores(store, {subject.run: {subject.name}}).to_pylist()
        if r["identity"] in identities and r["task"] in asked
    ]
    return Reference("baseline", subject.folder.name, by_checkpoint(rows).get(subject.run, {}).get(subject.name, {}))


def _judged(
    config: ComparisonInput,
    run: str,
    checkpoints: Mapping[str, Mapping[str, Mapping[str, ScoreRow]]],
    continuations: Mapping[tuple[str, str], list[dict[str, Any]]],
    baseline: Reference | None,
    answers: Mapping[tuple[str, str], Mapping[str, Mapping[str, ScoreRow]]],
) -> Judged:
    mine = checkpoints[run]
    names = list(mine)
    references: list[Reference] = []
    parent = config.parents.get(run)
    if parent and parent[0] in checkpoints:
        there = checkpoints[parent[0]]
        start = next((n for n in there if parent[1] is not None and int(n.split("-")[0]) == parent[1]), list(there)[-1])
        references.append(Reference("parent", at(parent[0], start), there[start]))
    elif len(names) > 1:
        references.append(Reference("parent", at(run, names[-2]), mine[names[-2]]))
    earlier = {n: mine[n] for n in names[:-1]} | (
        {f"{parent[0]} {n}": rows for n, rows in checkpoints[parent[0]].items()}
        if parent and parent[0] in checkpoints
        else {}
    )
    if earlier:
        references.append(Reference("best", "earlier checkpoint", best(earlier)))
    if baseline:
        references.append(baseline)
    texts = continuations.get((run, names[-1]))
    repetition = sum(t["repetition"] for t in texts) / len(texts) if texts else None
    base = _base(config, run, checkpoints) if run in config.tuned else None
    if base is not None:  # it is asked what it was tuned for; what that costs is another gate's
        alike = parent is not None and parent[0] in config.tuned
        references = [
            Reference(r.kind, r.name, {task: row for task, row in r.rows.items() if task.startswith(CHAT)})
            for r in references
            if r.kind == "parent" and alike
        ]
    return Judged(
        run,
        names[-1],
        mine[names[-1]],
        mine[names[0]],
        repetition,
        references,
        _untrained(config, run, checkpoints),
        base,
        answers.get((run, names[-1]), {}) if base else {},
    )


def _base(
    config: ComparisonInput, run: str, checkpoints: Mapping[str, Mapping[str, Mapping[str, ScoreRow]]]
) -> Reference:
    """The last evaluated checkpoint of the run that fine-tuning began from."""
    while run in config.tuned and run in config.parents:
        run = config.parents[run][0]
    there = checkpoints.get(run, {})
    name = next(reversed(list(there)), "")
    return Reference("base", at(run, name) if name else run, there.get(name, {}))


def _answers(
    config: ComparisonInput, rows: Sequence[ScoreRow]
) -> dict[tuple[str, str], dict[str, dict[str, ScoreRow]]]:
    """By run and checkpoint: every judgement of answers in conversations, by task and metric."""
    out: dict[tuple[str, str], dict[str, dict[str, ScoreRow]]] = {}
    for row in rows:
        if row["task"].startswith(CHAT) and row["subset"] is None and row["task"] in config.asked:
            out.setdefault((row["run"], row["checkpoint"]), {}).setdefault(row["task"], {})[row["metric"]] = row
    return out


def _untrained(
    config: ComparisonInput, run: str, checkpoints: Mapping[str, Mapping[str, Mapping[str, ScoreRow]]]
) -> Mapping[str, ScoreRow] | None:
    """Scores of the weights before any training that ``run`` descends from; None where those came trained."""
    while run in config.parents:
        run = config.parents[run][0]
    if run in config.from_elsewhere:
        return None
    return next(
        (rows for rows in checkpoints.get(run, {}).values() if all(row["tokens"] == 0 for row in rows.values())), {}
    )


def _reader(store: Store) -> Callable[[ScoreRow], Items]:
    kept: dict[str, Items] = {}

    def read(row: ScoreRow) -> Items:
        file = row["samples"]
        if file not in kept:
            kept[file] = read_items(store, file)
        return kept[file]

    return read


def _finding(f: Finding, alpha: float) -> Row:
    d = f.difference
    said = (
        "worse"
        if f.regressed
        else (
            "no difference found"
            if f.p >= alpha
            else "better"
            if d.worse(f.higher_is_better) < 0
            else "worse, within tolerance"
        )
    )
    return {
        "run": f.run,
        "task": f.task,
        "against": f.against,
        "then": d.a,
        "now": d.b,
        "difference": d.difference,
        "low": d.low,
        "high": d.high,
        "p": f.p,
        "items": d.n,
        "verdict": said,
    }


def _traced(found: Mapping[str, Any] | None) -> str:
    parts = {"pieces": found["segments"], "passages": found["passages"]} if found else None
    return json.dumps(parts, ensure_ascii=False) if parts else ""


def _page(
    config: ComparisonInput,
    rows: Sequence[ScoreRow],
    continuations: Mapping[tuple[str, str], list[dict[str, Any]]],
    inputs: Mapping[str, Artifact],
    baseline: Reference | None,
    gates: list[Row],
) -> ScorePage:
    absent = read_absent(inputs[name].path for name in ("benchmark_items", "heldout_tasks"))
    steps = {(r["run"], r["checkpoint"]): r["step"] for r in rows if r["task"] == SAMPLES}
    asked, traced = _tasks(config), read_traced(inputs.get(TRACED))
    held = (
        [
            {
                "model": f"baseline {baseline.name}",
                "task": task,
                "value": row["value"],
                "provenance": "scored here",
                "harness": "scored here",
            }
            for task, row in baseline.rows.items()
        ]
        if baseline
        else []
    )
    shown = [
        r | {"identity": r["identity"][:PARTS]}
        for r in rows
        if r["task"] != SAMPLES and r["value"] is not None and (r["main"] or r["subset"])
    ]
    order = {task: i for i, task in enumerate(asked)}
    shown.sort(key=lambda r: order.get(r["task"], len(order)))  # what is not asked any more stands last
    return ScorePage(
        title=f"Scores of {config.recipe}",
        description=config.description,
        rows=shown,  # type: ignore[arg-type]
        suites=config.suites,
        comparators=[*held, *(r for r in read_published(published_files(config.published)) if r["task"] in asked)],  # type: ignore[misc,list-item]
        generations=[
            {
                "run": run,
                "step": steps[run, name],
                "checkpoint": name,
                "lang": str(t["lang"]),
                "prompt": str(t["prompt"]),
                "continuation": str(t["continuation"]),
                "traced": _traced(traced.get((run, name, str(t["prompt"])))),
            }
            for (run, name), texts in continuations.items()
            for t in texts
        ],
        gates=gates,  # type: ignore[arg-type]
        absent=[{"task": a.name, "message": a.message} for a in absent.values() if a.name in asked],
    )
