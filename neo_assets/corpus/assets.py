"""The corpus group: `matrix`, `heldout`, `train_pool`, `mixture` by phase."""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.corpus.matrix import MatrixInput, SplitInput, assemble_matrix, hold_out, pool
from neo_assets.corpus.mixture import MixtureInput, mix
from neo_assets.declare import Declared, artifact

GROUP = "corpus"


def declared(recipe: Recipe) -> dict[str, Declared]:
    split = SplitInput(languages=recipe.languages, split=recipe.heldout)
    out = {
        "matrix": Declared(
            "matrix",
            assemble_matrix,
            MatrixInput(languages=recipe.languages),
            reads=[recipe.cleaned(lang) for lang in recipe.languages],
        ),
        "heldout": Declared("heldout", hold_out, split, reads=["matrix"]),
        "train_pool": Declared("train_pool", pool, split, reads=["matrix"]),
    }
    for phase, mixture in recipe.mixture.items():
        out[f"mixture/{phase}"] = Declared(
            f"mixture/{phase}",
            mix,
            MixtureInput(phase=phase, mixture=mixture),
            reads=["train_pool", *(f"hq_recall/{lang}" for lang in mixture.recalled_rounds)],
        )
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    checks = {"mixture": ["rows_balance", "every_language_served"]}
    return [
        artifact(
            recipe,
            GROUP,
            entry,
            checks=checks.get(name.split("/")[0], ["rows_balance", "language_not_empty"]),
            kinds=["parquet"],
        )
        for name, entry in declared(recipe).items()
    ]
