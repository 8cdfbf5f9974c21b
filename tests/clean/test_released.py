"""``faithful_to_release`` reproduces what the released filters compute, defects included."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.clean import released
from neo_assets.clean.clean_docs import clean_chinese
from neo_assets.clean.lists import ListInput, UrlListInput
from neo_assets.clean.measure import lists, measure
from neo_assets.clean.signals import LanguageSignals, SignalsInput, measure_signals
from neo_assets.core import records
from neo_assets.core.recipe import load
from neo_assets.core.recipe.data import UrlLists
from neo_assets.core.store import MadeFrom, Outcome, Store, Workspace
from tests.corpora import document, texts_of, verdicts_of


def named(text: str) -> dict[str, float]:
    return {name: float(column[0]) for name, column in measure(pa.array([text]), "en", lists([], [])).items()}


def test_ellipses_are_divided_by_characters_so_that_the_rule_never_fires() -> None:
    text = "One line ends so...\n" * 10
    assert named(text)["ellipsis_lines"] == 1.0 > 0.2
    assert (
        released.english(text, [])["ellipsis_lines"] == pytest.approx(10 / 200)
        and released.english(text, [])["ellipsis_lines"] < 0.2
    )


def test_words_without_letters_are_divided_by_characters() -> None:
    text = "1234567890 " * 50
    assert named(text)["letterless_words"] == 1.0
    assert released.english(text, [])["letterless_words"] == pytest.approx(50 / len(text))


def test_top_grams_are_of_characters_and_count_repeats() -> None:
    assert released.english("abababab", [])["top_2gram"] == pytest.approx((4 - 1) * 2 / 8)
    assert named("abababab")["top_2gram"] == 0.0  # one word


def test_duplicate_grams_count_distinct_characters() -> None:
    text = "the same words again. " * 30
    found = released.english(text, [])["duplicate_5grams"]
    assert found == pytest.approx(len(set(text)) / len(text)) and found < 0.15 < named(text)["duplicate_5grams"]


def test_chinese_sentences_are_split_after_the_punctuation_was_mapped_and_repetition_never_counts() -> None:
    found = released.chinese("第一句。第二句！第三句", delete_urls=False, segment_words=False)
    assert found["sentences"] == 3 and all(found[name] == 0 for name in released.REPETITION)


def test_the_corpus_gets_half_width_punctuation_and_a_verdict_says_so(tmp_path: Path) -> None:
    zh = load("laptop").clean.zh
    assert zh is not None
    body = (
        "我们的系统会读取每一个文档，并且写下它为什么被保留或者丢弃。任何人都可以检查结果，"
        "而不必猜测其中的原因！这样做的好处很多：模型可以追溯到来源。学生在自己的电脑上也能运行整个流程。"
    )
    documents = [document(body, "zh", "a"), document(body * 3, "zh", "b")]

    def work(out: Workspace) -> Outcome:
        out.write(
            "part-00000.parquet",
            pa.Table.from_pylist(sorted(documents, key=lambda d: str(d["doc_id"])), schema=records.DOCUMENT),
        )
        return Outcome(digest="d", parts={"zh": "z"}, rows_in=2, rows_kept=2, rows_dropped=0)

    store = Store(tmp_path)
    source, _ = store.build("documents/site", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
    kept: dict[bool, tuple[dict[str, str], dict[str, dict[str, object]]]] = {}
    for faithful in (False, True):
        settings = LanguageSignals(
            stop_words=ListInput(), bad_words=ListInput(), segment_words=True, faithful_to_release=faithful
        )
        config = SignalsInput(source="site", languages={"zh": settings}, blocked_urls=UrlListInput(lists=UrlLists()))
        measured, _ = store.build(
            "signals/site",
            MadeFrom(config={"f": faithful}, code={}, libraries={}, inputs={}),
            lambda out, config=config: measure_signals(config, {"documents/site": source}, out),
        )  # type: ignore[misc]
        out = Workspace(tmp_path / f"out-{faithful}")
        out.path.mkdir()
        clean_chinese(
            zh.model_copy(update={"faithful_to_release": faithful, "max_bracketed": 0.5}),
            {"documents/site": source, "signals/site": measured},
            out,
        )
        kept[faithful] = texts_of(out), verdicts_of(out)
    a, b = (str(d["doc_id"]) for d in documents)
    assert kept[False][0] == {a: body} and str(kept[False][1][b]["rule"]).startswith(("max_top_", "max_duplicate_"))
    assert set(kept[True][0]) == {a, b} and kept[True][0][a] == released.half_width(body) != body
    assert (kept[True][1][a]["verdict"], kept[True][1][a]["rule"]) == ("edited", "half_width_punctuation")


def test_the_letters_of_the_release_count_as_it_counts_them() -> None:
    text = "第一句：见 www.a.example/x，再见 sources.list 。\n\n第二句、《书》！更多"
    kept = released.half_width(text)
    assert kept == "第一句:见 www.a.example/x,再见 sources.list .\n\n第二句、《书》!更多"
    plain, without = (released.chinese(text, delete_urls=d, segment_words=True) for d in (False, True))
    assert plain["chars"] == len(kept) and without["chars"] < plain["chars"], "white space counts, addresses do not"
    assert plain["distinct_chars"] == len(set(kept)) / len(kept)
    assert plain["read_more_lines"] == 1 / 3, "the empty line is a line"


def test_english_words_are_cut_as_treebank_has_them() -> None:
    found = released.english("I don't know. It costs $5 (or so)!", ["the", "i", "or"])
    assert found["words"] == 14 and found["sentences"] == 2 and found["stop_words"] == 2
