"""`neo funnel`: every document is counted once a stage, whatever it is counted by."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core import records
from neo_assets.core.records import DROPPED, EDITED, KEPT, Verdict
from neo_assets.core.store import InputRef, MadeFrom, Outcome, Store, Workspace
from neo_assets.core.terminal import bar

RAW = [Verdict(f"d{i}", "raw_crawl/ours", source="ours") for i in range(9)]
RAW += [Verdict(f"e{i}", "raw_crawl/theirs", DROPPED if i == 3 else KEPT, "http_error" * (i == 3)) for i in range(4)]
EN = [
    Verdict(f"d{i}", "clean_docs/en", DROPPED if i < 3 else KEPT, "min_words" if i < 3 else "", source="ours")
    for i in range(6)
]
ZH = [Verdict(f"e{i}", "clean_docs/zh", EDITED if i else KEPT, "masked" * bool(i), source="theirs") for i in range(3)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NEO_STORE", str(tmp_path))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    monkeypatch.setattr("neo_assets.core.recipe.Recipe.makes", lambda *_: True)
    store = Store(tmp_path)
    for verdicts in (RAW[:9], RAW[9:], EN, ZH):
        add(store, verdicts, "raw_crawl/ours" if verdicts[0].stage.startswith("clean") else "")
    return store


def add(store: Store, verdicts: list[Verdict], reads: str = "") -> None:
    name = verdicts[0].stage
    inputs = {reads: InputRef(fingerprint="f", digest=reads)} if reads else {}

    def work(out: Workspace) -> Outcome:
        out.write("verdicts.parquet", records.verdict_table(verdicts))
        return Outcome(digest=name)

    made, _ = store.build(name, MadeFrom(config={"n": name}, code={}, libraries={}, inputs=inputs), work)
    store.set_head("ci", name, name, made.fingerprint)


def funnel(*arguments: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, ["funnel", *arguments, "--json"], catch_exceptions=False)
    rows: list[dict[str, object]] = json.loads(done.output)
    return rows


def test_stages_come_in_order_and_what_comes_in_is_kept_edited_or_dropped(store: Store) -> None:
    assert funnel() == [
        {"stage": "raw_crawl", "in": 13, "kept": 12, "edited": 0, "dropped": 1, "share": round(12 / 13, 6)},
        {"stage": "clean_docs", "in": 9, "kept": 4, "edited": 2, "dropped": 3, "share": round(6 / 9, 6)},
    ]


@pytest.mark.parametrize("by", ["source", "lang"])
def test_parts_sum_to_the_whole(store: Store, by: str) -> None:
    whole = {row["stage"]: row for row in funnel()}
    sums: dict[str, Counter[str]] = {}
    for row in funnel("--by", by):
        sums.setdefault(str(row["stage"]), Counter()).update({n: int(str(row[n])) for n in ("in", "kept", "dropped")})
    assert {s: dict(c) for s, c in sums.items()} == {
        s: {n: whole[s][n] for n in ("in", "kept", "dropped")} for s in whole
    }


def test_a_language_is_that_of_the_cleaning_a_document_reached(store: Store) -> None:
    assert {row["lang"]: row["in"] for row in funnel("raw_crawl", "--by", "lang")} == {"": 4, "en": 6, "zh": 3}


def test_one_stage_is_told_by_rule_with_shares_of_what_came_in(store: Store) -> None:
    assert funnel("clean_docs") == [
        {"stage": "clean_docs", "verdict": "dropped", "rule": "min_words", "documents": 3, "share": round(3 / 9, 6)},
        {"stage": "clean_docs", "verdict": "edited", "rule": "masked", "documents": 2, "share": round(2 / 9, 6)},
    ]
    assert [row["share"] for row in funnel("clean_docs_en")] == [0.5]  # as Dagster writes it
    assert funnel("clean_docs", "--by", "rule", "--by", "source")[0]["source"] == "ours"


def test_what_is_printed_has_shares_and_bars_where_asked_for(store: Store) -> None:
    said = CliRunner().invoke(app, ["funnel", "--percent"]).output.splitlines()
    assert said[0].split() == ["stage", "in", "kept", "edited", "dropped", "stays"]
    assert said[2].split()[:6] == ["clean_docs", "9", "44.4%", "22.2%", "33.3%", "66.7%"]
    assert said[2].endswith(bar(6, 9, 13, 24)) and "░" in said[2]


def test_what_the_table_cannot_show_is_said_below_it(store: Store) -> None:
    said = CliRunner().invoke(app, ["funnel", "clean_docs"]).output
    assert "clean_docs: 9 in = 4 kept as they were + 2 edited + 3 dropped." in said
    add(store, [Verdict("d4", "substring_dedup/en"), Verdict("d5", "substring_dedup/en")], "clean_docs/en")
    add(store, [Verdict("e0", "pii_masked/zh")], "clean_docs/zh")
    add(store, [Verdict("d4", "pii_masked/en"), Verdict("d5", "pii_masked/en")], "substring_dedup/en")
    assert [row["stage"] for row in funnel()][2:] == ["substring_dedup", "pii_masked"]  # though one language lacks it
    assert "substring_dedup: of en only." in CliRunner().invoke(app, ["funnel"]).output
    assert "(not cleaned)" in CliRunner().invoke(app, ["funnel", "raw_crawl", "--by", "lang"]).output


def test_each_mixture_is_told_by_itself_and_the_split_as_what_it_is(store: Store) -> None:
    add(store, [Verdict("d4", "heldout"), Verdict("d5", "heldout", DROPPED, "in_train_pool")], "clean_docs/en")
    add(store, [Verdict("d4", "train_pool", DROPPED, "held_out"), Verdict("d5", "train_pool")], "heldout")
    for name, rule in (("mixture/decay", "no_round"), ("mixture/fundamental", "")):
        add(store, [Verdict("d5", name, DROPPED if rule else KEPT, rule)], "train_pool")
    told = {row["stage"]: (row["in"], row["kept"], row["dropped"]) for row in funnel()}
    assert (told["mixture/decay"], told["mixture/fundamental"]) == ((1, 0, 1), (1, 1, 0))
    said = CliRunner().invoke(app, ["funnel", "train_pool"]).output
    assert "two sides of one split" in said and "train_pool: 2 in = 1 for training + 1 held out." in said
    fate = CliRunner().invoke(app, ["fate", "d4"]).output
    assert "held out  " in fate and "Held out for evaluation: no run trains on it, and no tokenizer." in fate
    fate = CliRunner().invoke(app, ["fate", "d5"]).output
    assert "for training" in fate and "In the training text of fundamental; `neo when d5` lists" in fate
    assert "Dropped by min_words at clean_docs/en: no run" in CliRunner().invoke(app, ["fate", "d0"]).output
    assert "Kept as far as the build goes, which is clean_docs/zh." in CliRunner().invoke(app, ["fate", "e1"]).output
    assert "for training by in_train_pool" in CliRunner().invoke(app, ["sample", "in_train_pool"]).output


def test_a_stage_that_is_none_is_told_with_what_is_close(store: Store) -> None:
    error = CliRunner().invoke(app, ["funnel", "clean_dogs"]).exception
    assert "no stage 'clean_dogs'" in str(error) and "Did you mean clean_docs" in str(error)


@pytest.mark.parametrize(
    ("part", "whole", "longest", "drawn"),
    [(12, 24, 24, "█" * 12 + "░" * 12), (1, 24_000, 24_000, "█" + "░" * 23), (0, 0, 24, ""), (24, 24, 24, "█" * 24)],
)
def test_a_bar(part: int, whole: int, longest: int, drawn: str) -> None:
    assert bar(part, whole, longest, 24) == drawn
