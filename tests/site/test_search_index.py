"""Whatever stands in a text is found by the index's terms."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from neo_assets.site.search_index import _DIGITS, SHARDS, normal, packed, shard_of, shards, terms

VALUES = {sign: n for n, sign in enumerate(_DIGITS)}
SIGNS = st.text(alphabet="软件包管理ab é1Ａ，。\U00020000", max_size=30)


def unpacked(text: str) -> list[int]:
    """As the page reads it."""
    out: list[int] = []
    before, value, shift = -1, 0, 1
    for sign in text:
        value += (VALUES[sign] & 31) * shift
        if VALUES[sign] & 32:
            shift *= 32
        else:
            before += value + 1
            out.append(before)
            value, shift = 0, 1
    return out


@given(st.sets(st.integers(0, 2_000_000), max_size=50))
def test_postings_come_back(numbers: set[int]) -> None:
    told = packed(sorted(numbers))
    # What the lowest bits of a gap leave is told on, and no gap is told with a sign too many.
    assert unpacked(told) == sorted(numbers)


def index_of(texts: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for n, script in enumerate(shards(texts)):
        match = re.fullmatch(r"neo\.index\((\d+),(.*)\)\n", script, re.DOTALL)
        assert match and int(match[1]) == n
        for term, postings in json.loads(match[2]).items():
            assert shard_of(term) == n
            found[term] = unpacked(postings)
    return found


@given(st.lists(SIGNS, min_size=1, max_size=8), st.data())
def test_no_text_that_has_a_passage_lacks_one_of_its_pairs(texts: list[str], data: st.DataObject) -> None:
    index = index_of(texts)
    whole = normal(data.draw(st.sampled_from(texts)))
    begin = data.draw(st.integers(0, len(whole)))
    passage = whole[begin : begin + data.draw(st.integers(1, 6))]
    for run in re.findall("[软件包管理\U00020000]+", passage):
        pairs = [run[i : i + 2] for i in range(len(run) - 1)]
        for number, text in enumerate(texts):
            if run in normal(text):
                assert all(number in index[pair] for pair in pairs)
                assert any(number in found for term, found in index.items() if term.startswith(run[0]))


def test_words_and_characters_are_told_apart() -> None:
    assert list(terms(normal("安装Debian12包"))) == ["安装", "装", "debian12", "包"]
    assert list(terms(normal("It's FULL_width: ＡＢ"))) == ["it", "s", "full", "width", "ab"]
    assert list(terms("x" * 99)) == ["x" * 32]


def test_a_shard_holds_all_that_begins_alike() -> None:
    assert shard_of("软件") == shard_of("软") == shard_of("软包") and shard_of("package") == shard_of("pack")
    assert all(0 <= shard_of(term) < SHARDS for term in ("a", "ab", "包", "\U00020000"))
