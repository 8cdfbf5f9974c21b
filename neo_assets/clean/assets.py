"""The clean room: `signals` by source, `clean_docs` by language. Steps after the rules are files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from neo_assets.clean.clean_docs import clean_chinese, clean_english
from neo_assets.clean.lists import ListInput, list_input, url_list_input
from neo_assets.clean.redpajama import redpajama_input
from neo_assets.clean.signals import LanguageSignals, SignalsInput, measure_signals
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import LANGUAGE_NOT_EMPTY, ROWS_BALANCE, Stage
from neo_assets.core.store import Outcome

RULES: dict[str, Callable[..., Outcome]] = {"en": clean_english, "zh": clean_chinese}
"""The function that applies a language's rules; its thresholds are the recipe's section `clean.‹lang›`."""


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    languages = {lang: _signals_of(recipe, lang) for lang in recipe.languages}
    urls, others = url_list_input(recipe.clean.blocked_urls), redpajama_input(recipe.clean.redpajama_signals)
    for name in recipe.sources:
        yield Stage(
            f"signals/{name}",
            measure_signals,
            SignalsInput(source=name, languages=languages, blocked_urls=urls, redpajama=others),
            reads=[f"documents/{name}"],
            claims=[ROWS_BALANCE],
            label="in a listed language",
        )
    for lang in recipe.languages:
        reads = [f"{stage}/{name}" for name in recipe.sources for stage in ("documents", "signals")]
        yield Stage(
            f"clean_docs/{lang}",
            _rules_of(lang),
            getattr(recipe.clean, lang),
            reads=reads,
            # Only this language's part of an input counts: new Chinese pages do not touch English artifacts.
            parts=dict.fromkeys(reads, lang),
            claims=[ROWS_BALANCE, LANGUAGE_NOT_EMPTY],
            label="pass the rules",
        )


def _rules_of(lang: str) -> Callable[..., Outcome]:
    if lang not in RULES:
        raise BadInput(
            f"no function applies the rules of language '{lang}': RULES in neo_assets/clean/assets.py (docs/howto.md, A"
            " language)"
        )
    return RULES[lang]


def _signals_of(recipe: Recipe, lang: str) -> LanguageSignals:
    if lang != "zh":
        settings = getattr(recipe.clean, lang)
        return LanguageSignals(
            stop_words=list_input(settings.stop_words),
            bad_words=list_input(settings.bad_words),
            segment_words=False,
            faithful_to_release=settings.faithful_to_release,
        )
    assert recipe.clean.zh
    zh = recipe.clean.zh
    words = zh.min_mean_word_length is not None or zh.max_mean_word_length is not None
    return LanguageSignals(
        stop_words=ListInput(),
        bad_words=list_input(zh.bad_words),
        segment_words=words,
        faithful_to_release=zh.faithful_to_release,
        delete_urls=zh.faithful_to_release and zh.delete_urls,
    )
