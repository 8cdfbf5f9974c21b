"""The tasks room: `benchmark_items` from outside, `heldout_tasks` made from documents that nobody trains on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.tasks.benchmark_items import benchmark_items
from neo_assets.tasks.heldout_tasks import HeldoutTasksInput, make_heldout_tasks


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    yield benchmark_items(recipe)
    yield Stage(
        "heldout_tasks",
        make_heldout_tasks,
        HeldoutTasksInput(tasks=recipe.evaluation.heldout, languages=recipe.languages, split=recipe.heldout),
        reads=["heldout", WITHDRAWN],
        parts={WITHDRAWN: "heldout"},
        kinds=["json"],
        claims=[
            ROWS_BALANCE,
            *(Claim(f"has_items_{lang}", f"There are held-out items in '{lang}'.") for lang in recipe.languages),
            *(_enough_items(lang) for lang in recipe.languages),
        ],
        divides=True,
    )


def _enough_items(lang: str) -> Claim:
    said = f"There are as many items in '{lang}' as the recipe asks for (a warning)."
    return Claim(f"enough_items_{lang}", said, blocking=False)
