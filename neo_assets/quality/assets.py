"""The quality group: personal data masked, evaluation items kept out; by language, in the order the recipe lists them."""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, artifact
from neo_assets.quality.decontaminate import BENCHMARKS, DecontaminationInput, drop_contaminated
from neo_assets.quality.pii import PiiInput, mask_personal_data

GROUP = "quality"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for lang in recipe.languages:
        for step in recipe.steps[lang]:
            name = f"{step}/{lang}"
            if step == "pii_masked":
                out[name] = Declared(name, mask_personal_data, PiiInput(lang=lang, settings=recipe.pii_masked[lang]), reads=[recipe.before(step, lang)])
            if step == "decontaminated":
                config = DecontaminationInput(lang=lang, settings=recipe.decontaminated[lang])
                out[name] = Declared(name, drop_contaminated, config, reads=[recipe.before(step, lang), BENCHMARKS], libraries=["numba", "numpy"])
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    checks = {"decontaminated": ["no_item_left"]}
    return [
        artifact(recipe, GROUP, entry, checks=["rows_balance", "language_not_empty", *checks.get(name.split("/")[0], [])], kinds=["parquet"])
        for name, entry in declared(recipe).items()
    ]
