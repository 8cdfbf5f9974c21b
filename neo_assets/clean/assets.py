"""The clean group: `signals` by source, `clean_docs` by language."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from neo_assets.clean.clean_docs import clean_chinese, clean_english
from neo_assets.clean.lists import ListInput, list_input, url_list_input
from neo_assets.clean.redpajama import redpajama_input
from neo_assets.clean.signals import LanguageSignals, SignalsInput, measure_signals
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Outcome
from neo_assets.declare import Declared, artifact

GROUP = "clean"
STAGES: dict[str, Callable[..., Outcome]] = {"en": clean_english, "zh": clean_chinese}


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    languages, urls = (
        {lang: _signals_of(recipe, lang) for lang in recipe.languages},
        url_list_input(recipe.clean.blocked_urls),
    )
    others = redpajama_input(recipe.clean.redpajama_signals)
    for name in recipe.sources:
        config = SignalsInput(source=name, languages=languages, blocked_urls=urls, redpajama=others)
        out[f"signals/{name}"] = Declared(f"signals/{name}", measure_signals, config, reads=[f"documents/{name}"])
    for lang in recipe.languages:
        reads = [f"{stage}/{name}" for name in recipe.sources for stage in ("documents", "signals")]
        # Only this language's part of an input counts: new Chinese pages do not touch English artifacts.
        out[f"clean_docs/{lang}"] = Declared(
            f"clean_docs/{lang}",
            STAGES[lang],
            getattr(recipe.clean, lang),
            reads=reads,
            parts=dict.fromkeys(reads, lang),
        )
    return out


def _signals_of(recipe: Recipe, lang: str) -> LanguageSignals:
    if lang == "en" and recipe.clean.en:
        return LanguageSignals(
            stop_words=list_input(recipe.clean.en.stop_words),
            bad_words=list_input(recipe.clean.en.bad_words),
            segment_words=False,
            faithful_to_release=recipe.clean.en.faithful_to_release,
        )
    assert recipe.clean.zh
    zh = recipe.clean.zh
    words = zh.min_mean_word_length is not None or zh.max_mean_word_length is not None
    return LanguageSignals(
        stop_words=ListInput(),
        bad_words=list_input(zh.bad_words),
        segment_words=words,
        faithful_to_release=zh.faithful_to_release,
    )


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    return [
        artifact(
            recipe,
            GROUP,
            entry,
            checks=["rows_balance"] if name.startswith("signals/") else ["rows_balance", "language_not_empty"],
            kinds=["parquet"],
        )
        for name, entry in declared(recipe).items()
    ]
