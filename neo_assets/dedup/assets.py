"""The dedup group: `exact_dedup`, then `near_dedup`, by language."""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, artifact
from neo_assets.dedup.exact import ExactDedupInput, drop_exact_duplicates
from neo_assets.dedup.near import NearDedupInput, drop_near_duplicates

GROUP = "dedup"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for lang in recipe.languages:
        out[f"exact_dedup/{lang}"] = Declared(f"exact_dedup/{lang}", drop_exact_duplicates, ExactDedupInput(lang=lang), reads=[f"clean_docs/{lang}"])
        near = NearDedupInput(lang=lang, settings=recipe.near_dedup[lang])
        out[f"near_dedup/{lang}"] = Declared(f"near_dedup/{lang}", drop_near_duplicates, near, reads=[f"exact_dedup/{lang}"], libraries=["xxhash", "numpy", "scipy"])
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    return [
        artifact(recipe, GROUP, entry, checks=["rows_balance"] if name.startswith("exact") else ["rows_balance", "language_not_empty"], kinds=["parquet"])
        for name, entry in declared(recipe).items()
    ]
