"""The quality group: personal data masked, evaluation items kept out; by language, in the order the
recipe lists them.
"""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, artifact
from neo_assets.quality.decontaminate import BENCHMARKS, DecontaminationInput, drop_contaminated
from neo_assets.quality.pii import PiiInput, mask_personal_data
from neo_assets.quality.recall import ClassifierInput, recall, recall_input, train_classifier
from neo_assets.text.searched import SEARCHED

GROUP = "quality"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for lang in recipe.languages:
        for step in recipe.steps[lang]:
            name = f"{step}/{lang}"
            if step == "pii_masked":
                out[name] = Declared(
                    name,
                    mask_personal_data,
                    PiiInput(lang=lang, settings=recipe.pii_masked[lang]),
                    reads=[recipe.before(step, lang)],
                )
            if step == "decontaminated":
                config = DecontaminationInput(lang=lang, settings=recipe.decontaminated[lang])
                out[name] = Declared(
                    name,
                    drop_contaminated,
                    config,
                    reads=[recipe.before(step, lang), BENCHMARKS],
                    parts={BENCHMARKS: SEARCHED},
                )
    for lang, settings in recipe.high_quality.items():
        if lang in recipe.languages:
            classifier, found = f"hq_classifier/{lang}", f"hq_recall/{lang}"
            out[classifier] = Declared(
                classifier,
                train_classifier,
                ClassifierInput(lang=lang, settings=settings),
                reads=[recipe.cleaned(lang)],
            )
            out[found] = Declared(found, recall, recall_input(lang, settings), reads=[recipe.cleaned(lang), classifier])
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    every = ["rows_balance", "language_not_empty"]
    checks = {
        "pii_masked": every,
        "decontaminated": [*every, "no_item_left"],
        "hq_classifier": ["something_recalled"],
        "hq_recall": ["rows_balance"],
    }
    kinds = {"hq_classifier": ["fasttext"]}
    warns = ["something_recalled"]
    return [
        artifact(recipe, GROUP, entry, checks=checks[stage], warns=warns, kinds=kinds.get(stage, ["parquet"]))
        for name, entry in declared(recipe).items()
        if (stage := name.split("/")[0])
    ]
