"""The compiled signals against their definitions."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neo_assets.clean.measure import lists, measure, signals_of
from neo_assets.core.errors import BadInput
from neo_assets.text.characters import LIMIT, WORD, character_table
from neo_assets.text.tokens import token_hashes
from tests.clean import reference

STOP = ["the", "be", "to", "of", "and", "that", "have", "with"]
BAD = ["damn", "坏词", "very bad"]
LISTS = lists(STOP, BAD)

WORDS = [
    "the",
    "The",
    "OF",
    "and",
    "don't",
    "don’t",
    "damn",
    "very",
    "bad",
    "read",
    "more",
    "Read More",
    "lorem",
    "ipsum",
    "坏词",
    "展开",
    "更多",
    "我们",
    "安装",
    "软件",
    "ＡＢＣ",
    "１２３",
    "42",
    "3.14",
    "é",
    "e\u0301",
    "한국어",
    "カナ",
    "x_y",
    "#",
    "##",
    "＃",
    "...",
    "…",
    "……",
    "。。。",
    "。",
    ".",
    "!",
    "？",
    ";",
    "；",
    "•",
    "·",
    "{",
    "}",
    "【",
    "】",
    "(",
    ")",
    "'",
    "”",
    "😀",
    "𠀀",
    "\U0010fffd",
    "\u3000",
    "\t",
    " ",
    " ",
    " ",
    "\n",
    "\n\n",
    "\n \n",
    "ﬁ",
    "²",
    "①",
]
TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=60).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),
)


def storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("lang", ["en", "zh"])
@given(texts=st.lists(TEXT.filter(storable), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_every_signal_is_what_its_definition_says(lang: str, texts: list[str]) -> None:
    found = measure(pa.array(texts, pa.string()), lang, LISTS)
    assert tuple(found) == signals_of(lang) or set(found) == set(signals_of(lang))
    for i, text in enumerate(texts):
        expected = reference.measure(text, lang, STOP, BAD)
        assert {name: float(column[i]) for name, column in found.items()} == pytest.approx(
            expected, rel=1e-9, abs=1e-12
        )


@given(texts=st.lists(TEXT.filter(storable), min_size=2, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_document_is_measured_alike_alone_and_among_others(texts: list[str]) -> None:
    together = measure(pa.array(texts, pa.string()), "en", LISTS)
    sliced = measure(pa.array(["before", *texts], pa.string())[1:], "en", LISTS)
    for i, text in enumerate(texts):
        alone = measure(pa.array([text], pa.string()), "en", LISTS)
        for name in signals_of("en"):
            assert together[name][i] == alone[name][0] == sliced[name][i]


def test_every_character_is_folded_and_is_a_letter_of_words_as_defined() -> None:
    table = character_table()
    for code in range(LIMIT):
        if 0xD800 <= code < 0xE000:
            continue  # no characters
        character = chr(code)
        assert chr(table.fold[code]) == reference.folded(character), hex(code)
        assert bool(table.flags[code] & WORD) == reference.is_word(character), hex(code)


@given(texts=st.lists(TEXT.filter(storable), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
@example(texts=["\U0002f800"])  # an ideograph that is another's double, above the first two planes
def test_the_quick_tokeniser_gives_the_tokens_of_the_definition(texts: list[str]) -> None:
    words = {reference.folded(t)[a:b] for t in texts for a, b in reference.tokens(t)}
    known = dict(zip(words, (int(h[0]) for h in token_hashes(list(words))), strict=True))
    assert len(set(known.values())) == len(known)
    for text, found in zip(texts, token_hashes(texts), strict=True):
        assert [known[reference.folded(text)[a:b]] for a, b in reference.tokens(text)] == found.tolist()


def test_a_word_list_with_two_words_in_one_entry_is_refused() -> None:
    with pytest.raises(BadInput, match="'ice cream' in a word list is 2 words"):
        lists(["ice cream"], [])


def test_a_missing_text_is_named() -> None:
    with pytest.raises(BadInput, match="1 texts are missing"):
        measure(pa.array(["a", None]), "en", LISTS)
