"""The clean group: `signals` by source, `clean_docs` by language."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from neo_assets.clean.chinese import clean_chinese
from neo_assets.clean.english import clean_english
from neo_assets.clean.signals import SignalsInput, measure_signals
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Outcome
from neo_assets.declare import Declared, artifact

GROUP = "clean"
STAGES: dict[str, Callable[..., Outcome]] = {"en": clean_english, "zh": clean_chinese}


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    stop_words = recipe.clean.en.stop_words if recipe.clean.en else []
    for name in recipe.sources:
        config = SignalsInput(source=name, languages=recipe.languages, stop_words=stop_words)
        out[f"signals/{name}"] = Declared(f"signals/{name}", measure_signals, config, reads=[f"documents/{name}"])
    for lang in recipe.languages:
        reads = [f"{stage}/{name}" for name in recipe.sources for stage in ("documents", "signals")]
        # Only this language's part of an input counts: new Chinese pages do not touch English artifacts.
        out[f"clean_docs/{lang}"] = Declared(f"clean_docs/{lang}", STAGES[lang], getattr(recipe.clean, lang), reads=reads, parts=dict.fromkeys(reads, lang))
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    return [
        artifact(recipe, GROUP, entry, checks=["rows_balance"] if name.startswith("signals/") else ["rows_balance", "language_not_empty"], kinds=["parquet"])
        for name, entry in declared(recipe).items()
    ]
