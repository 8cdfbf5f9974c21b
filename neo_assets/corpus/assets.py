"""The corpus room: `matrix`, `heldout`, `train_pool`, `mixture` by phase."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import LANGUAGE_NOT_EMPTY, ROWS_BALANCE, Claim, Stage
from neo_assets.corpus.held_out import NO_SHARED_RUNS, SplitInput, hold_out, pool
from neo_assets.corpus.matrix import MatrixInput, assemble_matrix
from neo_assets.corpus.mixture import MixtureInput, mix

EVERY_LANGUAGE_SERVED = Claim("every_language_served", "Every language the mixture asks for has documents.")
WHOLE = (ROWS_BALANCE, LANGUAGE_NOT_EMPTY)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    cleaned = [recipe.cleaned(lang) for lang in recipe.languages]
    split = SplitInput(languages=recipe.languages, split=recipe.heldout)
    yield Stage("matrix", assemble_matrix, MatrixInput(languages=recipe.languages), reads=cleaned, claims=WHOLE)
    yield Stage("heldout", hold_out, split, reads=["matrix"], claims=WHOLE, divides=True)
    yield Stage("train_pool", pool, split, reads=["matrix", "heldout"], claims=[*WHOLE, NO_SHARED_RUNS], divides=True)
    for phase, mixture in recipe.mixture.items():
        yield Stage(
            f"mixture/{phase}",
            mix,
            MixtureInput(phase=phase, mixture=mixture),
            reads=["train_pool", *(f"hq_recall/{lang}" for lang in mixture.recalled_rounds)],
            claims=[ROWS_BALANCE, EVERY_LANGUAGE_SERVED],
        )
