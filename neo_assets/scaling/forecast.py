"""``sealed_forecast``: what a run will lose, said before its first step; ``forecast_outcome``: what came of it.

The forecast is sealed when the run's job is first started: it is copied into the job's folder, once, before the first
attempt, and from there into the run's artifact. One that is made later finds a job with an attempt, and is not sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section, identity
from neo_assets.core.recipe.run import Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.pages.charts import Line, Point, curves, write_picture
from neo_assets.runs.sealed import SEALED, Seal
from neo_assets.scaling.fit import read_fit
from neo_assets.scaling.laws import intervals
from neo_assets.scaling.readings import TEXTS, TOTAL, columns, parameters_of, read_run, window_of
from neo_assets.scaling.texts import (
    OF_SERIES,
    OF_TARGET,
    compare_texts,
    fit_texts,
    foretell_texts,
    read_text_losses,
)

FOLD = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Ours: shares of the run at which its loss is foretold."""


class ForecastInput(Section):
    """Of the forecast, and of its outcome."""

    settings: Scaling
    target: str
    run: Run
    rows: int = Field(ge=1, description="of the embedding table")
    series: dict[str, Run] = Field(default_factory=dict, description="whose held-out text is told of, too")


def make_forecast(config: ForecastInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The loss of the recipe's main run over its tokens, and what it will score on held-out text in the end, foretold
    from the series before the run's first step, with intervals.

    The run's job takes this with it when it is first started; what is foretold later has no part in it.
    """
    settings, run = config.settings, config.run
    fitted, readings, _ = read_fit(inputs["scaling_fit"])
    without, total = parameters_of(run, config.rows)
    n = float(total if settings.count == TOTAL else without)
    window = window_of(run, settings.read_over)
    tokens = [(share * run.steps - (window - 1) / 2) * run.tokens_per_step for share in FOLD]
    told = [float(v) for v in fitted.predict(n, tokens)]
    at = [(n, d) for d in tokens]
    within = intervals(fitted, columns(readings, settings.count), at, settings.rounds, settings.level, settings.seed)
    points: list[Row] = [
        {"share": share, "tokens": round(d), "loss": round(loss, 5), "low": round(low, 5), "high": round(high, 5)}
        for share, d, loss, (low, high) in zip(FOLD, tokens, told, within, strict=True)
    ]
    texts = _texts(config, inputs, n)
    forecast = {
        "target": config.target,
        "run": digest_json(identity(run)),
        "parameters": round(n),
        "count": settings.count,
        "law": fitted.law.name,
        "constants": fitted.constants,
        "read_over": settings.read_over,
        "level": settings.level,
        "points": points,
        "texts": texts,
    }
    out.write_text(SEALED, json.dumps(forecast, indent=1))
    last = points[-1]
    return Outcome(
        digest=digest_json(forecast),
        numbers={
            "target": config.target,
            "law": fitted.law.name,
            "parameters": round(n),
            "last_loss": last["loss"],
            "last_loss_low": last["low"],
            "last_loss_high": last["high"],
            **{str(row["task"]): row["foretold"] for row in texts},
        },
        tables={"foretold": points} | ({TEXTS: texts} if texts else {}),
    )


def _texts(config: ForecastInput, inputs: Mapping[str, Artifact], parameters: float) -> list[Row]:
    settings = config.settings
    if OF_SERIES not in inputs:
        return []
    readings = read_text_losses(inputs[OF_SERIES], config.series, config.rows, settings.tasks, settings.beyond_tokens)
    tokens = config.run.steps * config.run.tokens_per_step
    return foretell_texts(settings, fit_texts(settings, readings), parameters, tokens)


def make_outcome(config: ForecastInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The forecast of the main run beside what the run lost, and what it scores on held-out text.

    What counts is the forecast that the run's job had before its first step. Without one the latest is shown, as what
    it is: said afterwards.
    """
    trained = inputs[f"pretraining/{config.target}"]
    seal, why = sealed_in(trained, config.run)
    forecast: dict[str, Any]
    if seal is not None:
        forecast = seal.forecast
    else:
        forecast = json.loads(inputs["sealed_forecast"].file(SEALED).read_text(encoding="utf-8"))
    points = forecast["points"]
    readings = read_run(
        config.target, config.run, config.rows, trained, [p["share"] for p in points], forecast["read_over"]
    )
    rows: list[Row] = []
    for point, reading in zip(points[len(points) - len(readings) :], readings, strict=True):
        off = point["loss"] / reading.loss - 1
        rows.append(
            {
                "tokens": reading.tokens,
                "foretold": point["loss"],
                "low": point["low"],
                "high": point["high"],
                "reached": round(reading.loss, 5),
                "± of the mean": round(reading.error, 5),
                "off by": round(off, 5),
                "within the interval": point["low"] <= reading.loss <= point["high"],
            }
        )
    error = float(str(rows[-1]["off by"]))
    texts: list[Row] = []
    if OF_TARGET in inputs:
        reached = read_text_losses(inputs[OF_TARGET], {config.target: config.run}, config.rows, config.settings.tasks)
        texts = compare_texts(forecast.get("texts", []), reached)
    _draw(points, rows, out)
    out.write_text("outcome.json", json.dumps({"sealed": seal is not None, "rows": rows, "texts": texts}, indent=1))
    return Outcome(
        digest=digest_json([rows, texts, seal.digest if seal else None]),
        numbers={
            "sealed": seal is not None,
            "foretold": points[-1]["loss"],
            "reached": rows[-1]["reached"],
            "off_by": round(error, 5),
            "points_within_intervals": sum(bool(r["within the interval"]) for r in rows),
            "points": len(rows),
            **{f"{row['task']}_off_by": row["off by"] for row in texts},
        },
        tables={"forecast and outcome": rows} | ({TEXTS: texts} if texts else {}),
        pictures={"forecast and outcome": "outcome.svg"},
        checks=[
            Check(name="sealed_before_its_first_step", passed=seal is not None, detail=why, blocking=False),
            Check(
                name="forecast_held",
                passed=abs(error) <= config.settings.max_error,
                detail=f"the last loss is {rows[-1]['reached']:.4f}, {points[-1]['loss']:.4f} was foretold: off by"
                f" {error:+.2%}, {config.settings.max_error:.1%} is let pass",
                blocking=False,
            ),
            *_held_texts(config.settings, texts),
        ],
    )


def _held_texts(settings: Scaling, texts: Sequence[Row]) -> list[Check]:
    if not settings.tasks:
        return []
    missing = sorted(set(settings.tasks) - {str(row["task"]) for row in texts})
    told = [f"{row['task']} {float(str(row['off by'])):+.2%}" for row in texts]
    told += [f"{task} was not foretold" for task in missing]
    return [
        Check(
            name="bits_per_byte_held",
            passed=not missing and all(abs(float(str(row["off by"]))) <= settings.max_error for row in texts),
            detail=f"off by: {', '.join(told)}; {settings.max_error:.1%} is let pass",
            blocking=False,
        )
    ]


def sealed_in(trained: Artifact, run: Run) -> tuple[Seal | None, str]:
    """(the forecast that a run's job had before its first attempt, how that is known), or None and why there is
    none.
    """
    if SEALED not in trained.manifest.files:
        return None, "the run's job had no forecast when it was first started: what is shown was said afterwards"
    seal = Seal.model_validate_json(trained.file(SEALED).read_text(encoding="utf-8"))
    if digest_json(seal.forecast) != seal.digest:
        return None, "the forecast in the run's job is not the one that was sealed: its digest differs"
    if seal.forecast["run"] != digest_json(identity(run)):
        return None, "the forecast in the run's job is of another run: other settings than this one's"
    if seal.first_attempt is None or seal.sealed_at > seal.first_attempt:
        return None, "the forecast came into the run's job after its first attempt"
    early = seal.first_attempt - seal.sealed_at
    return seal, f"sealed {early:.1f} s before the job's first attempt; digest {seal.digest[:12]}"


def _draw(points: Sequence[Mapping[str, Any]], rows: Sequence[Row], out: Workspace) -> None:
    told = [Point(p["tokens"], p["loss"], (p["high"] - p["low"]) / 2) for p in points]
    seen = [Point(float(str(r["tokens"])), float(str(r["reached"]))) for r in rows]
    lines = [Line(told, "foretold, with interval", dotted=True), Line(seen, "reached")]
    write_picture(
        curves("forecast and outcome", lines, "tokens trained on", subtitle="loss, nats a token", marks=True),
        out.path / "outcome.svg",
    )
