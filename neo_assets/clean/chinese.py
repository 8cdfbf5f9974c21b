"""The Chinese rules, in order (MAP-Neo §2.4). Thresholds are the recipe's ``clean.zh``."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.clean.verdicts import Rule, judge
from neo_assets.core.recipe.data import CleanChinese
from neo_assets.core.store import Artifact, Outcome, Workspace

RULES = (
    Rule("min_lang_score", "lang_score", "at_least"),
    Rule("max_bracketed", "bracketed", "at_most"),
    Rule("min_sentences", "sentences", "at_least"),
    Rule("min_chars", "chars", "at_least"),
    Rule("max_chars", "chars", "at_most"),
    Rule("max_hashes", "hashes", "at_most"),
    Rule("max_digits", "digits", "at_most"),
    Rule("max_bullet_lines", "bullet_lines", "at_most"),
    Rule("min_distinct_chars", "distinct_chars", "at_least"),
    Rule("min_char_entropy", "char_entropy", "at_least"),
)


def clean_chinese(config: CleanChinese, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Chinese documents of all sources, simplified and traditional, that pass every Chinese rule, and a verdict for each that does not.

    The rules are those of the paper's Chinese pipeline; each dropped document names the first rule it broke, the value measured
    and the threshold.
    """
    return judge("zh", RULES, config, inputs, out)
