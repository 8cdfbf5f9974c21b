"""``scaling_fit``: four laws fitted to the losses of a series of runs, by either count of parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.run import Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Workspace
from neo_assets.pages.charts import Line, Point, beside, curves, write_picture
from neo_assets.scaling.laws import LAWS, Fit, best_for, fit, quality
from neo_assets.scaling.readings import COUNTS, TOTAL, Reading, columns, read_series

FILE = "fit.json"
BUDGETS = (0.1, 1.0, 10.0)
"""Ours: budgets of the table, as multiples of what the largest run of the series took."""


class ScalingFitInput(Section):
    settings: Scaling
    series: dict[str, Run]
    rows: int = Field(ge=1, description="of the embedding table")


@dataclass(frozen=True)
class Fitted:
    """One law, one count of parameters: fitted without the sizes that are held out, and to all of them. ``why``: why it
    could not be fitted.
    """

    law: str
    count: str
    within: Fit | None
    whole: Fit | None
    numbers: Mapping[str, float]
    why: str = ""


def make_fit(config: ScalingFitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Laws of the loss L(N, D), fitted to what a series of small runs lost at several amounts of tokens: MAP-Neo's,
    Chinchilla's, Kaplan's and the symbolic-music law.

    Each law is first asked about sizes that it was not fitted to. Constants that the points do not say are named; what
    is claimed of a law is what it predicts.
    """
    settings = config.settings
    readings = read_series(
        config.series, config.rows, inputs, settings.read_at, settings.read_over, settings.beyond_tokens
    )
    fits = fit_laws(settings, readings)
    chosen = next(f for f in fits if (f.law, f.count) == (settings.law, settings.count))
    if chosen.whole is None:
        raise BadInput(f"scaling: the law '{chosen.law}' cannot be fitted to {len(readings)} readings: {chosen.why}")
    write_fit(out, settings, readings, fits)
    _draw(readings, chosen.whole, settings.count, out)
    largest = max(6.0 * r.parameters(settings.count) * r.tokens for r in readings)
    unknown = chosen.whole.at_the_border
    held = chosen.numbers.get("held_out_largest_error")
    return Outcome(
        digest=digest_json(json.loads((out.path / FILE).read_text(encoding="utf-8"))),
        numbers={
            "readings": len(readings),
            "sizes": len(config.series),
            "law": settings.law,
            "N is": settings.count,
            **{name: round(value, 6) for name, value in chosen.whole.constants.items()},
            **{name: round(value, 6) for name, value in chosen.numbers.items()},
        },
        tables={
            "laws": [_row(f) for f in fits],
            "compute-optimal": [best_at(chosen.whole, readings, settings.count, times * largest) for times in BUDGETS],
            "readings": [dict(asdict(r)) for r in readings],
        },
        pictures={"loss by tokens and size": "fit.svg"},
        checks=[
            Check(
                name="sizes_held_out_foretold",
                passed=held is None or held <= settings.max_error,
                detail="no size is held out"
                if held is None
                else f"{', '.join(settings.held_out)}: at most {held:.2%} off, {settings.max_error:.1%} is let pass",
                blocking=False,
            ),
            Check(
                name="exponents_identified",
                passed=not unknown,
                detail=f"{settings.law}: the readings do not say what {', '.join(unknown)} is"
                if unknown
                else f"{settings.law}: no exponent lies at the border of what was looked among",
                blocking=False,
            ),
        ],
    )


def fit_laws(settings: Scaling, readings: Sequence[Reading]) -> list[Fitted]:
    """Every law by every count of parameters."""
    inner = [r for r in readings if r.run not in settings.held_out]
    outer = [r for r in readings if r.run in settings.held_out]
    return [_fitted(law, count, inner, outer) for count in COUNTS for law in LAWS]


def _fitted(name: str, count: str, inner: Sequence[Reading], outer: Sequence[Reading]) -> Fitted:
    law = LAWS[name]
    try:
        within = fit(law, *columns(inner, count))
        whole = fit(law, *columns([*inner, *outer], count)) if outer else within
    except ValueError as error:
        return Fitted(name, count, None, None, {}, str(error))
    numbers = {f"fitted_{k}": v for k, v in quality(within, *columns(inner, count)).items()}
    if outer:
        numbers |= {f"held_out_{k}": v for k, v in quality(within, *columns(outer, count)).items()}
    return Fitted(name, count, within, whole, numbers)


def write_fit(out: Workspace, settings: Scaling, readings: Sequence[Reading], fits: Sequence[Fitted]) -> None:
    """What was read and fitted, for :func:`read_fit` and for people."""
    told = {
        "law": settings.law,
        "count": settings.count,
        "readings": [asdict(r) for r in readings],
        "fits": [
            {
                "law": f.law,
                "count": f.count,
                "formula": LAWS[f.law].formula,
                "source": LAWS[f.law].source,
                "why": f.why,
                "constants": f.whole.constants if f.whole else {},
                "at_the_border": f.whole.at_the_border if f.whole else [],
                "centred": f.whole.centred.tolist() if f.whole else [],
                "n0": f.whole.n0 if f.whole else None,
                "d0": f.whole.d0 if f.whole else None,
                "quality": dict(f.numbers),
            }
            for f in fits
        ],
    }
    out.write_text(FILE, json.dumps(told, indent=1))


def read_fit(made: Artifact) -> tuple[Fit, list[Reading], dict[str, Any]]:
    """(the fit of the recipe's law and count, to all sizes; its readings; all that was written)."""
    told: dict[str, Any] = json.loads(made.file(FILE).read_text(encoding="utf-8"))
    one = next(f for f in told["fits"] if (f["law"], f["count"]) == (told["law"], told["count"]))
    fitted = Fit(LAWS[one["law"]], np.array(one["centred"], float), float(one["n0"]), float(one["d0"]))
    return fitted, [Reading(**r) for r in told["readings"]], told


def _row(fitted: Fitted) -> Row:
    constants = fitted.whole.constants if fitted.whole else {}
    numbers: dict[str, Scalar] = {name: float(f"{value:.4g}") for name, value in fitted.numbers.items()}
    return {
        "law": fitted.law,
        "N is": fitted.count,
        "formula": LAWS[fitted.law].formula,
        **numbers,
        "constants": ", ".join(f"{name} {value:.4g}" for name, value in constants.items()) or fitted.why,
        "not identified": ", ".join([*fitted.whole.at_the_border, *fitted.whole.at_zero]) if fitted.whole else "",
    }


def best_at(fitted: Fit, readings: Sequence[Reading], count: str, flops: float) -> Row:
    """N, D and loss that are best at a budget, and whether they lie among what was fitted to: beyond that a law of a
    few small runs is a guess.
    """
    best = best_for(fitted, flops)
    sizes, lengths = [r.parameters(count) for r in readings], [r.tokens for r in readings]
    beyond = [
        name for name, seen in (("parameters", sizes), ("tokens", lengths)) if not min(seen) <= best[name] <= max(seen)
    ]
    n_is = "parameters with embeddings" if count == TOTAL else "parameters without embeddings"
    row: Row = {"6·N·D": float(f"{flops:.3g}"), n_is: float(f"{best['parameters']:.4g}")}
    row |= {name: float(f"{best[name]:.4g}") for name in ("tokens", "loss")}
    return row | {"beyond what was fitted": ", ".join(beyond)}


def _draw(readings: Sequence[Reading], fitted: Fit, count: str, out: Workspace) -> None:
    """What was read as points with their errors, and the law through them as a dotted line, by size."""
    charts = []
    for name in dict.fromkeys(r.run for r in readings):
        mine = [r for r in readings if r.run == name]
        along = np.linspace(mine[0].tokens, mine[-1].tokens, 40)
        law = fitted.predict(mine[0].parameters(count), along)
        lines = [
            Line([Point(r.tokens, r.loss, r.error) for r in mine], "read"),
            Line([Point(float(x), float(y)) for x, y in zip(along, law, strict=True)], "law", dotted=True),
        ]
        charts.append(
            curves(
                f"{name}: N = {mine[0].parameters(count):,}", lines, "tokens trained on", subtitle="loss, nats a token"
            )
        )
    write_picture(beside(charts, 2), out.path / "fit.svg")
