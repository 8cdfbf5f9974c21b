"""``evaluation/‹run›``: every due checkpoint of a run exported and asked, and all its scores in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.evaluate.answers import ANSWERS
from neo_assets.evaluate.rows import ScoreRow, columns
from neo_assets.evaluate.score import ScoreInput, Scorer, Subject, answer_rows, called, sample_rows, score_rows
from neo_assets.runs.export import ExportInput


class EvaluationInput(Section):
    """Which checkpoints `evaluation/‹run›` scores, and how often."""

    run: str
    score: ScoreInput
    export: ExportInput
    due: list[int]
    attempts: int


SHOWN = ("step", "task", "metric", "value", "stderr", "n", "chance", "detectable", "cut", "attempt")


def evaluate_run(
    config: EvaluationInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    scorer: Scorer,
    export: Callable[[Artifact], Artifact],
    checkpoints: Sequence[Artifact],
) -> Outcome:
    """Scores of every checkpoint that the recipe wants evaluated: exported, then asked the recipe's suites by lm-eval
    in a job of its own, offline.

    Each score has its standard error, its number of items and its task's identity. What has a score is not scored
    again, and a task whose data are not here is listed and not scored. The tag `neofoundry/repeat: true` on the Dagster
    run asks for one more attempt, and any difference from the first is reported.
    """
    rows: list[ScoreRow] = []
    samples: list[Row] = []
    answers: list[Row] = []
    for checkpoint in checkpoints:
        subject = Subject.of(config.run, checkpoint, export(checkpoint))
        for attempt in range(1, config.attempts + 1):
            scores, _ = scorer.scored(subject, attempt)
            rows += score_rows(scores, attempt)
            if attempt == 1:
                samples += sample_rows(subject, scores)
                answers += answer_rows(subject, scores)
    if answers:
        out.write_text(ANSWERS, json.dumps(answers, ensure_ascii=False, indent=1))
    return _gather(config, rows, samples, scorer, out)


def _gather(
    config: EvaluationInput, rows: list[ScoreRow], samples: list[Row], scorer: Scorer, out: Workspace
) -> Outcome:
    """All scores of a run in one place, with the differences between attempts."""
    absent = scorer.absent()
    out.write_text("scores.json", json.dumps(rows, ensure_ascii=False, indent=1))
    out.write_text("samples.json", json.dumps(samples, ensure_ascii=False, indent=1))
    first = {(r["checkpoint"], r["task"], r["metric"], r["subset"]): r["value"] for r in rows if r["attempt"] == 1}
    differing: list[Row] = [
        {
            "checkpoint": r["checkpoint"],
            "task": r["task"],
            "metric": r["metric"],
            "attempt": r["attempt"],
            "first": first[where],
            "now": r["value"],
        }
        for r in rows
        if first.get(where := (r["checkpoint"], r["task"], r["metric"], r["subset"])) != r["value"] and where in first
    ]
    shown = [columns(r, SHOWN) for r in rows if r["headline"]]
    last = max((r["step"] for r in rows), default=0)
    return Outcome(
        digest=digest_json(
            [{k: v for k, v in r.items() if k not in ("seconds", "fingerprint")} for r in rows] + list(samples)
        ),
        numbers={called(r): r["value"] for r in rows if r["headline"] and r["step"] == last and r["attempt"] == 1},
        tables={
            "scores": shown,
            "differences between attempts": differing,
            "tasks without data": [{"task": a.name, "what to do": a.message} for a in absent],
        },
        checks=[
            Check(
                name="every_due_checkpoint_scored",
                passed={r["step"] for r in rows} == set(config.due),
                detail=f"due {config.due}",
            ),
            Check(
                name="repeats_agree",
                passed=not differing,
                detail=f"{len(differing)} scores differ from the first attempt's",
                blocking=False,
            ),
        ],
    )
