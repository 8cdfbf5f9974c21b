"""The scaling room: the runs of a series, `scaling_fit`, `sealed_forecast` and `forecast_outcome`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Claim, Stage
from neo_assets.runs.plan import ids
from neo_assets.runs.training_job import FORECAST, run_stages
from neo_assets.scaling.fit import ScalingFitInput, make_fit
from neo_assets.scaling.forecast import ForecastInput, make_forecast, make_outcome

HELD_OUT_FORETOLD = Claim(
    "sizes_held_out_foretold",
    "The law is no further off on sizes that it was not fitted to than the recipe lets pass (a warning).",
    blocking=False,
)
IDENTIFIED = Claim(
    "exponents_identified",
    "No exponent of the recipe's law lies at the border of what was looked among (a warning: it is not identified).",
    blocking=False,
)
SEALED_BEFORE = Claim(
    "sealed_before_its_first_step",
    "The forecast was in the run's job before its first attempt, and is unchanged (a warning).",
    blocking=False,
)
HELD = Claim("forecast_held", "The last loss is as near to what was foretold as the recipe asks (a warning).", False)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    """Nothing for a recipe without a series."""
    settings = recipe.scaling
    if settings is None:
        return
    for name in recipe.series:
        yield from run_stages(recipe, name)
    target, trained = recipe.runs[settings.target], recipe.trained(settings.target)
    base = recipe.runs[settings.base].model
    yield Stage(
        "scaling_fit",
        make_fit,
        ScalingFitInput(settings=settings, series=recipe.series, rows=base.vocab_rows(ids(recipe.tokenizer))),
        reads=[recipe.trained(name) for name in recipe.series],
        kinds=["json"],
        claims=[HELD_OUT_FORETOLD, IDENTIFIED],
    )
    rows = target.model.vocab_rows(ids(recipe.tokenizer))
    told = ForecastInput(settings=settings, target=settings.target, run=target, rows=rows)
    yield Stage(
        FORECAST,
        make_forecast,
        told,
        reads=["scaling_fit"],
        kinds=["json"],
    )
    yield Stage(
        "forecast_outcome",
        make_outcome,
        told,
        reads=[FORECAST, trained],
        kinds=["json"],
        claims=[SEALED_BEFORE, HELD],
        shown_in="scores",
    )
