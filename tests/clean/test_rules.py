"""Rules: each bounds the signal its name says, in the recipe's order, and a list or a URL that is asked for is looked
up as written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neo_assets.clean.lists import BlockedUrls, list_input, url_list_input
from neo_assets.clean.rules import judge, rules
from neo_assets.clean.signals import names
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.recipe.data import CleanChinese, CleanEnglish, ListFile, UrlLists

RECIPE = load("laptop").clean
SECTIONS = {"en": RECIPE.en, "zh": RECIPE.zh}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_rule_bounds_a_signal_that_is_measured(lang: str) -> None:
    section = {"en": CleanEnglish, "zh": CleanChinese}[lang]
    bounded = {
        name.split("_", 1)[1] for name in section.model_fields if name.startswith(("min_", "max_", "below_", "above_"))
    }
    assert bounded <= set(names(lang))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_rule_that_is_null_is_off(lang: str) -> None:
    section = SECTIONS[lang]
    assert section is not None
    on = {
        name
        for name in type(section).model_fields
        if name.startswith(("min_", "max_", "below_", "above_")) and getattr(section, name) is not None
    }
    assert {rule.field for rule in rules(section)} == on


@pytest.mark.parametrize(
    ("field", "kept", "dropped"),
    [("min_words", [50, 51], [49.9]), ("max_words", [9999, 10000], [10001]), ("below_sentences", [7499], [7500, 7501])],
)
def test_at_least_at_most_and_below_mean_what_they_say(field: str, kept: list[float], dropped: list[float]) -> None:
    rule = next(r for r in rules(RECIPE.en) if r.field == field)  # type: ignore[arg-type]
    values = np.array(kept + dropped)
    assert rule.broken_by(values).tolist() == [False] * len(kept) + [True] * len(dropped)


def test_what_could_not_be_measured_breaks_no_rule() -> None:
    assert not any(rule.broken_by(np.array([np.nan]))[0] for rule in (*rules(RECIPE.en), *rules(RECIPE.zh)))  # type: ignore[arg-type]


@given(st.lists(st.lists(st.floats(0, 100), min_size=3, max_size=3), min_size=1, max_size=20))
def test_the_first_broken_rule_is_recorded_with_its_value(rows: list[list[float]]) -> None:
    section = RECIPE.en
    assert section is not None
    chosen = [r for r in rules(section) if r.field in ("min_words", "max_caps_words", "max_digits")]
    columns = {rule.signal: np.array([row[i] for row in rows]) for i, rule in enumerate(chosen)}
    decision = judge(columns, chosen, len(rows))
    for i, row in enumerate(rows):
        broken = [
            (rule, value) for rule, value in zip(chosen, row, strict=True) if rule.broken_by(np.array([value]))[0]
        ]
        assert decision.dropped[i] == bool(broken)
        if broken:
            rule, value = broken[0]
            assert (decision.rule[i], decision.value[i], decision.threshold[i]) == (rule.field, value, rule.threshold)


def test_a_word_list_file_is_read_and_its_content_is_its_identity(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# a comment\nthe\n\n  of \n坏词\n")
    before = list_input(ListFile(path=str(file)))
    assert before.read() == ["the", "of", "坏词"]
    file.write_text("the\n")
    assert list_input(ListFile(path=str(file))).digest != before.digest
    with pytest.raises(BadInput, match=r"words\.txt has changed since the recipe was loaded"):
        before.read()


def test_a_list_that_is_not_here_says_so_when_it_is_needed(tmp_path: Path) -> None:
    missing = list_input(ListFile(path=str(tmp_path / "none.txt")))
    with pytest.raises(BadInput, match=r"none\.txt is not here.*put it there"):
        missing.read()


def test_a_list_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(BadInput, match=r"words\.txt: line 2: not UTF-8"):
        list_input(ListFile(path=str(tmp_path / "words.txt"))).read()


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("http://bad.example/", True),
        ("https://www.BAD.example:8080/page?x=1", True),
        ("http://notbad.example/", False),
        ("http://good.example/", False),
        ("http://good.example/ads/banner.html", True),
        ("http://good.example/ad", False),
        ("", False),
    ],
)
def test_urls_are_blocked_by_host_and_by_prefix(tmp_path: Path, url: str, blocked: bool) -> None:
    (tmp_path / "domains").write_text("bad.example\n")
    (tmp_path / "urls").write_text("good.example/ads\ngood.example/ads/deeper\nother.example/x\n")
    assert (
        url in BlockedUrls.read(UrlLists(domains=[str(tmp_path / "dom*")], urls=[str(tmp_path / "urls")]))
    ) == blocked


def test_a_url_list_that_changed_is_refused_and_never_served_from_memory(tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text("bad.example\n")
    before = url_list_input(UrlLists(domains=[str(file)]))
    assert "http://bad.example/" in before.read()
    file.write_text("other.example\n")
    after = url_list_input(UrlLists(domains=[str(file)]))
    assert "http://bad.example/" not in after.read() and "http://other.example/" in after.read()
    with pytest.raises(BadInput, match="changed since the recipe was loaded"):
        before.read()


def test_a_url_list_that_is_not_here_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not shipped with NeoFoundry"):
        BlockedUrls.read(UrlLists(urls=[str(tmp_path / "nothing*")]))
