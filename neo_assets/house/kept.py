"""What the rules would leave of texts that were looked at: told before a recipe is written, not after a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from neo_assets.clean.lists import list_input
from neo_assets.clean.measure import lists, measure
from neo_assets.clean.rules import judge, rules
from neo_assets.core.recipe.data import CleanChinese, CleanEnglish

ASK_FOR_LENGTH = ("min_words", "min_chars", "min_sentences", "min_unigram_entropy", "min_char_entropy")
"""Rules that a short text breaks for its length alone: of few words no entropy is high."""
TOO_MANY = 0.5
"""Share of the texts that may break such a rule; if more do, the collection is one of short texts."""
FEW = 20
"""Texts that must have been looked at before rules are changed for them."""


@dataclass(frozen=True)
class Kept:
    """Of the texts of one language that were looked at: share of bytes that the rules leave, and the rules that drop
    most, each with its share of the texts. ``lifted``: rules that were switched off because the texts are short.
    """

    share: float
    drop: Mapping[str, float]
    lifted: Sequence[str]
    short: float


def kept_of(texts: Sequence[tuple[str, float]], lang: str, section: CleanEnglish | CleanChinese) -> Kept:
    """What a language's rules leave of texts, given with the score of their language; without the rules that ask for
    length where most texts are too short for them.
    """
    first = _judged(texts, lang, section)
    short = sum(first.drop.get(rule, 0.0) for rule in ASK_FOR_LENGTH)
    if short <= TOO_MANY or len(texts) < FEW:
        return first
    lifted = [rule for rule in ASK_FOR_LENGTH if getattr(section, rule, None) is not None]
    again = _judged(texts, lang, section.model_copy(update=dict.fromkeys(lifted)))
    return Kept(again.share, again.drop, lifted, short)


def _judged(texts: Sequence[tuple[str, float]], lang: str, section: CleanEnglish | CleanChinese) -> Kept:
    chosen = rules(section)
    stop_words = list_input(section.stop_words).read() if isinstance(section, CleanEnglish) else ()
    known = lists(stop_words, list_input(section.bad_words).read())
    signals = dict(measure(pa.array([text for text, _ in texts], pa.string()), lang, known))
    signals["lang_score"] = np.array([score for _, score in texts])
    if lang == "zh" and any(rule.signal == "mean_word_length" for rule in chosen):
        from neo_assets.clean.chinese_words import mean_word_lengths

        signals["mean_word_length"] = mean_word_lengths([text for text, _ in texts])
    unmeasured = np.full(len(texts), np.nan)
    decision = judge({rule.signal: signals.get(rule.signal, unmeasured) for rule in chosen}, chosen, len(texts))
    sizes = np.array([len(text.encode()) for text, _ in texts], float)
    by_rule = Counter(rule for rule in decision.rule if rule)
    return Kept(
        float(sizes[~decision.dropped].sum() / sizes.sum()),
        {str(rule): n / len(texts) for rule, n in by_rule.most_common()},
        (),
        0.0,
    )
