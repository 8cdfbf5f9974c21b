"""The dedup group: exact documents, near duplicates, lines, substrings; by language, in the order the recipe lists
them.
"""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.data import ParagraphDedup, Step
from neo_assets.declare import Declared, artifact
from neo_assets.dedup.exact import ExactDedupInput, drop_exact_duplicates
from neo_assets.dedup.lines import (
    ParagraphDedupInput,
    SimilarLineDedupInput,
    drop_repeated_paragraphs,
    drop_similar_lines,
)
from neo_assets.dedup.near import NearDedupInput, drop_near_duplicates
from neo_assets.dedup.substring import SubstringDedupInput, cut_repeated_substrings

GROUP = "dedup"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for lang in recipe.languages:
        for step in recipe.steps[lang]:
            if step.endswith("_dedup"):
                out[f"{step}/{lang}"] = _step(recipe, step, lang)
    return out


def _step(recipe: Recipe, step: Step, lang: str) -> Declared:
    name, reads = f"{step}/{lang}", [recipe.before(step, lang)]
    if step == "exact_dedup":
        return Declared(name, drop_exact_duplicates, ExactDedupInput(lang=lang), reads=reads)
    if step == "near_dedup":
        return Declared(
            name, drop_near_duplicates, NearDedupInput(lang=lang, settings=recipe.near_dedup[lang]), reads=reads
        )
    if step == "substring_dedup":
        return Declared(
            name,
            cut_repeated_substrings,
            SubstringDedupInput(lang=lang, settings=recipe.substring_dedup[lang]),
            reads=reads,
        )
    settings = recipe.line_dedup[lang]
    if isinstance(settings, ParagraphDedup):
        return Declared(name, drop_repeated_paragraphs, ParagraphDedupInput(lang=lang, settings=settings), reads=reads)
    return Declared(name, drop_similar_lines, SimilarLineDedupInput(lang=lang, settings=settings), reads=reads)


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    return [
        artifact(recipe, GROUP, entry, checks=["rows_balance", "language_not_empty"], kinds=["parquet"])
        for entry in declared(recipe).values()
    ]
