"""The English rules, in order (MAP-Neo §2.3). Thresholds are the recipe's ``clean.en``."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.clean.verdicts import Rule, judge
from neo_assets.core.recipe.data import CleanEnglish
from neo_assets.core.store import Artifact, Outcome, Workspace

RULES = (
    Rule("min_lang_score", "lang_score", "at_least"),
    Rule("min_words", "words", "at_least"),
    Rule("max_words", "words", "at_most"),
    Rule("min_mean_word_length", "mean_word_length", "at_least"),
    Rule("max_mean_word_length", "mean_word_length", "at_most"),
    Rule("max_bullet_lines", "bullet_lines", "at_most"),
    Rule("max_ellipsis_lines", "ellipsis_lines", "at_most"),
    Rule("max_symbols_per_word", "symbols_per_word", "at_most"),
    Rule("min_stop_words", "stop_words", "at_least"),
    Rule("max_curly_braces", "curly_braces", "at_most"),
    Rule("min_unigram_entropy", "unigram_entropy", "at_least"),
)


def clean_english(config: CleanEnglish, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """English documents of all sources that pass every English rule, and a verdict for each that does not.

    The rules are those of the paper's English re-processing; each dropped document names the first rule it broke, the value
    measured and the threshold.
    """
    return judge("en", RULES, config, inputs, out)
