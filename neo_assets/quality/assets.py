"""The quality room: high-quality recall, by language, over what cleaning left. `pii_masked` and `decontaminated` are
cleaning steps and tell themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage, StepInput
from neo_assets.quality.classifier import train_classifier
from neo_assets.quality.recall import recall, recall_input

SOMETHING_RECALLED = Claim(
    "something_recalled", "The classifier recalls at least one document (a warning).", blocking=False
)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    for lang, settings in recipe.high_quality.items():
        if lang in recipe.languages:
            cleaned, classifier = recipe.cleaned(lang), f"hq_classifier/{lang}"
            yield Stage(
                classifier,
                train_classifier,
                StepInput(lang=lang, settings=settings),
                reads=[cleaned],
                kinds=["fasttext"],
                claims=[SOMETHING_RECALLED],
            )
            yield Stage(
                f"hq_recall/{lang}",
                recall,
                recall_input(lang, settings),
                reads=[cleaned, classifier],
                claims=[ROWS_BALANCE],
            )
