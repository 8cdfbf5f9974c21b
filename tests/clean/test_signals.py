"""Each signal measures what its rule's name says; whatever the text, it is a finite number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neo_assets.clean import signals_en, signals_zh
from neo_assets.clean.chinese import RULES as CHINESE_RULES
from neo_assets.clean.english import RULES as ENGLISH_RULES
from neo_assets.core.recipe.data import CleanChinese, CleanEnglish

STOP_WORDS = ["the", "be", "to", "of", "and", "that", "have", "with"]


def english(text: str) -> dict[str, float]:
    return dict(zip(signals_en.SIGNALS, signals_en.english_signals(text, STOP_WORDS), strict=True))


def chinese(text: str) -> dict[str, float]:
    return dict(zip(signals_zh.SIGNALS, signals_zh.chinese_signals(text), strict=True))


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("one two three", "words", 3),
        ("it's user’s", "words", 2),
        ("ab abcd", "mean_word_length", 3),
        ("• one\n\n• two\nthree\nfour", "bullet_lines", 0.5),
        ("more...\nmore…\nend.\nend.", "ellipsis_lines", 0.5),
        ("# one two # ...", "symbols_per_word", 1.5),
        ("The cat and THE dog of", "stop_words", 3),
        ("{a}bcdefgh", "curly_braces", 0.2),
        ("a b c d", "unigram_entropy", math.log(4)),
        ("a A a A", "unigram_entropy", 0),
    ],
)
def test_english_signals(text: str, signal: str, value: float) -> None:
    assert english(text)[signal] == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("你好 世界\n", "chars", 4),
        ("【广告广告】正文", "bracketed", 0.5),
        ("第一句。第二句！第三句", "sentences", 3),
        ("版本3.14说明", "sentences", 1),
        ("１２ab，。", "digits", 0.5),
        ("##你好", "hashes", 0.25),
        ("●一\n二", "bullet_lines", 0.5),
        ("好好好好", "distinct_chars", 0.25),
        ("甲乙丙丁", "char_entropy", math.log(4)),
    ],
)
def test_chinese_signals(text: str, signal: str, value: float) -> None:
    assert chinese(text)[signal] == pytest.approx(value)


def test_simplified_and_traditional_measure_alike() -> None:
    assert chinese("语言模型。训练数据。") == chinese("語言模型。訓練資料。")


@given(st.text())
def test_signals_are_finite_for_any_text(text: str) -> None:
    assert all(math.isfinite(v) for v in (*english(text).values(), *chinese(text).values()))


@pytest.mark.parametrize(("rules", "section", "signals"), [(ENGLISH_RULES, CleanEnglish, signals_en.SIGNALS), (CHINESE_RULES, CleanChinese, signals_zh.SIGNALS)])
def test_every_rule_has_a_threshold_and_a_signal(rules: tuple, section: type, signals: tuple) -> None:
    assert {rule.field for rule in rules} == section.model_fields.keys() - {"stop_words"}
    assert all(rule.signal in ("lang_score", *signals) for rule in rules)
    assert all(rule.field.startswith("min_" if rule.keeps == "at_least" else "max_") for rule in rules)
