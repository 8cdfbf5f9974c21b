"""RedPajama-V2's own signals are read from its files by URL, and bound by the rules written for them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from neo_assets.clean.redpajama import NAMES, Signals, redpajama_input
from neo_assets.clean.rules import judge, rules
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load


def line(url: str, as_text: bool = False, **values: object) -> bytes:
    signals = {theirs: [[0, 100, values[ours]]] for ours, theirs in NAMES.items() if ours in values}
    return (
        json.dumps(
            {"id": url, "metadata": {"url": url}, "quality_signals": json.dumps(signals) if as_text else signals}
        ).encode()
        + b"\n"
    )


def values(folder: Path) -> Signals:
    return redpajama_input([str(folder / "*.json*")]).read()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0000.json").write_bytes(
        line(
            "http://a.example/1",
            ccnet_bucket="head",
            ccnet_perplexity=300.5,
            books_importance=-10,
            openwebtext_importance=-5,
            wikiref_score=0.5,
        )
    )
    with gzip.open(tmp_path / "0001.json.gz", "wb") as stream:
        stream.write(
            line("http://a.example/2", as_text=True, ccnet_bucket="tail", ccnet_perplexity=900, wikiref_score=None)
        )
    return tmp_path


def test_values_are_found_by_url_and_missing_ones_are_nan(files: Path) -> None:
    found = values(files).of(["http://a.example/2", "http://nowhere.example/", "http://a.example/1"])
    assert found["ccnet_bucket"].tolist()[::2] == [2.0, 0.0] and found["ccnet_perplexity"].tolist()[::2] == [
        900.0,
        300.5,
    ]
    assert all(np.isnan(column[1]) for column in found.values())
    assert np.isnan(found["wikiref_score"][0]) and np.isnan(found["books_importance"][0])


def test_the_papers_thresholds_drop_what_they_should(files: Path) -> None:
    en = load("laptop").clean.en
    assert en is not None
    paper = {
        "max_ccnet_bucket": 0.9,
        "below_ccnet_perplexity": 487.5,
        "above_books_importance": -25000,
        "max_books_importance": 25000,
        "min_openwebtext_importance": -1000,
        "min_wikiref_score": 0.025,
    }
    chosen = [r for r in rules(en.model_copy(update=paper)) if r.field in paper]
    assert {r.field for r in chosen} == set(paper)
    decision = judge(
        values(files).of(["http://a.example/1", "http://a.example/2", "http://nowhere.example/"]), chosen, 3
    )
    assert decision.dropped.tolist() == [False, True, False] and decision.rule[1] == "max_ccnet_bucket"
    edge = next(r for r in chosen if r.field == "above_books_importance")
    assert edge.broken_by(np.array([-25000.0, -24999.0])).tolist() == [True, False]


def test_names_and_sizes_are_identity_and_place_is_not(files: Path, tmp_path: Path) -> None:
    before = redpajama_input([str(files / "*.json*")])
    (tmp_path / "elsewhere").mkdir()
    for name in ("0000.json", "0001.json.gz"):
        (tmp_path / "elsewhere" / name).write_bytes((files / name).read_bytes())
    assert redpajama_input([str(tmp_path / "elsewhere" / "*")]).digest == before.digest
    (files / "0000.json").write_bytes(b"")
    assert redpajama_input([str(files / "*.json*")]).digest != before.digest


def test_files_that_changed_after_the_recipe_was_loaded_are_refused(files: Path) -> None:
    before = redpajama_input([str(files / "*.json*")])
    assert before.read() is before.read()
    (files / "0000.json").write_bytes(b"")
    with pytest.raises(BadInput, match="have changed since the recipe was loaded"):
        before.read()


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(line("http://a.example/") + b'{"quality_signals": {}}\n')
    with pytest.raises(BadInput, match=r"bad\.json: line 2: not a row of quality signals \(KeyError"):
        redpajama_input([str(tmp_path / "bad.json")]).read()
    with pytest.raises(BadInput, match="not shipped with NeoFoundry"):
        redpajama_input([str(tmp_path / "none*")]).read()
