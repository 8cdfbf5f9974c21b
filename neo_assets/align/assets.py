"""The align room: `instructions` and `preferences`, by set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.align.sets import read_instructions, read_preferences, set_input
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage
from neo_assets.tasks.benchmark_items import KEY as BENCHMARKS

NOT_EMPTY = Claim("not_empty", "Something of the set is left.")
CAN_BE_USED = Claim(
    "rows_can_be_used", "No more rows than max_bad_share cannot be used; the first are named with file and record."
)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    """Nothing for a recipe without alignment."""
    if recipe.align is None:
        return
    kinds = (
        ("instructions", recipe.align.instructions, read_instructions),
        ("preferences", recipe.align.preferences, read_preferences),
    )
    for kind, sets, read in kinds:
        for name, settings in sets.items():
            held = recipe.decontaminated.get(settings.lang)
            yield Stage(
                f"{kind}/{name}",
                read,
                set_input(name, settings, held),
                reads=[BENCHMARKS] if held else [],
                claims=[ROWS_BALANCE, NOT_EMPTY, CAN_BE_USED],
            )
