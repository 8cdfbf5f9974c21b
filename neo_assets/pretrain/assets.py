"""The pretrain room: `run_plan`, `pretraining` and `checkpoint` of the runs that learn to go on with text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Stage
from neo_assets.runs.training_job import FORECAST, run_stages


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    target = recipe.scaling.target if recipe.scaling else None
    for name in (run for run in recipe.runs if recipe.learns(run) == "pretraining"):
        yield from run_stages(recipe, name, after=[FORECAST] if name == target else [])
