"""The scaling room: the runs of a series, `scaling_fit`, `sealed_forecast` and `forecast_outcome`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.run import Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.stage import Claim, Stage
from neo_assets.runs.job_stage import JobStage
from neo_assets.runs.plan import ids
from neo_assets.runs.training_job import FORECAST, POOL, run_stages
from neo_assets.scaling.fit import ScalingFitInput, make_fit
from neo_assets.scaling.forecast import ForecastInput, make_forecast, make_outcome
from neo_assets.scaling.texts import OF_SERIES, OF_TARGET, PROGRAM, measure_texts, text_losses_input

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
TEXTS_HELD = Claim(
    "bits_per_byte_held",
    "What the run scores on held-out text is as near to what was foretold as the recipe asks (a warning).",
    blocking=False,
)
EVERY_CHECKPOINT = Claim("every_checkpoint_measured", "Each checkpoint has a number for each task.")
HELD = Claim("forecast_held", "The last loss is as near to what was foretold as the recipe asks (a warning).", False)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    """Nothing for a recipe without a series."""
    settings = recipe.scaling
    if settings is None:
        return
    for name in recipe.series:
        yield from run_stages(recipe, name)
    target, trained = recipe.runs[settings.target], recipe.trained(settings.target)
    rows = target.model.vocab_rows(ids(recipe.tokenizer))
    yield Stage(
        "scaling_fit",
        make_fit,
        ScalingFitInput(settings=settings, series=recipe.series, rows=rows),
        reads=[recipe.trained(name) for name in recipe.series],
        kinds=["json"],
        claims=[HELD_OUT_FORETOLD, IDENTIFIED],
    )
    told = ForecastInput(settings=settings, target=settings.target, run=target, rows=rows)
    texts = bool(settings.tasks)
    if texts:
        told = told.model_copy(update={"series": recipe.series})
        yield _text_losses(recipe, settings, OF_SERIES, recipe.series, rows)
        yield _text_losses(recipe, settings, OF_TARGET, {settings.target: target}, rows)
    yield Stage(
        FORECAST,
        make_forecast,
        told,
        reads=["scaling_fit", *([OF_SERIES] if texts else [])],
        kinds=["json"],
    )
    yield Stage(
        "forecast_outcome",
        make_outcome,
        told,
        reads=[FORECAST, trained, *([OF_TARGET] if texts else [])],
        kinds=["json"],
        claims=[SEALED_BEFORE, HELD, *([TEXTS_HELD] if texts else [])],
        shown_in="scores",
    )


def _text_losses(recipe: Recipe, settings: Scaling, name: str, runs: Mapping[str, Run], rows: int) -> Stage[Any]:
    return JobStage(
        name,
        measure_texts,
        text_losses_input(settings, recipe.evaluation, runs, rows, last_only=name == OF_TARGET),
        reads=[*(recipe.trained(run) for run in runs), "tokenizer", "heldout_tasks"],
        kinds=["parquet"],
        claims=[EVERY_CHECKPOINT],
        programs=[PROGRAM],
        after=[f"checkpoint/{run}" for run in runs],
        resources=["compute"],
        pool=POOL,
    )
