"""`neo fetch-benchmarks` does not make a trained model stale without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.store import MadeFrom, Outcome, Store

QUESTION = {"question": "What is two and two?", "choices": ["3", "4", "5", "6"], "answer": 1}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in which the recipe's text was decontaminated and a model trained on it."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "q.jsonl").write_text(json.dumps(QUESTION) + "\n", encoding="utf-8")
    monkeypatch.setattr("neo_assets.core.recipe.load.RECIPES", tmp_path / "recipes", raising=False)
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    for name in ("clean_docs/en", "decontaminated/en", "matrix", "pretraining/main"):
        made, _ = store.build(
            name, MadeFrom(config={"n": name}, code={}, libraries={}, inputs={}), lambda _: Outcome(digest="d")
        )
        store.set_head("mine", name, name, made.fingerprint)
    return store


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> Path:
    place = tmp_path / "to" / "q.jsonl"
    (tmp_path / "recipes" / "mine.yaml").write_text(
        "extends: ci\nname: mine\nevaluation: {benchmarks: {ours: {kind: choice, lang: en, licence: CC0-1.0,"
        f" path: {place}, url: 'file://{tmp_path}/from/q.jsonl'{more}}}}}}}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("NEO_RECIPE", str(tmp_path / "recipes" / "mine.yaml"))
    return place


def test_what_would_be_made_again_is_said_and_nothing_is_fetched(
    built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = asked(tmp_path, monkeypatch, "")
    error = str(CliRunner().invoke(app, ["fetch-benchmarks", "ours"]).exception)
    assert "up to 3 artifacts of this build" in error and "the trained run main among them" in error
    assert "set `decontaminate: false` at evaluation.benchmarks.ours" in error and not place.exists()
    assert CliRunner().invoke(app, ["fetch-benchmarks", "ours", "--anyway"]).exit_code == 0 and place.is_file()
    again = CliRunner().invoke(app, ["fetch-benchmarks", "ours"])
    assert again.exit_code == 0 and "already in" in again.output  # what is there makes nothing stale


def test_what_is_only_asked_is_fetched(built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = asked(tmp_path, monkeypatch, ", decontaminate: false")
    assert CliRunner().invoke(app, ["fetch-benchmarks", "ours"]).exit_code == 0 and place.is_file()


def test_where_nothing_was_trained_it_is_fetched(built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = asked(tmp_path, monkeypatch, "")
    (built.root / "builds" / "mine").rename(tmp_path / "gone")
    assert CliRunner().invoke(app, ["fetch-benchmarks", "ours"]).exit_code == 0 and place.is_file()
