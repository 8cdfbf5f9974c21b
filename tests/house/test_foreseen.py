"""`neo plan` says what a build would stop at, with the line the user wrote, and what is made already."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import load, written_at
from neo_assets.core.store import Store
from neo_assets.house.foreseen import known_addresses, refusals

RECIPE = """\
extends: laptop
name: mine
sources:
  handbook: null
  help_zh: null
  guides: null
  help_en:
    kind: html_folder
    path: {folder}
    host: texts.example
    include: ["**/*.html"]
    licence: CC0-1.0
    snapshot: "1"
high_quality:
  zh: null
  en:
    seed_urls: ['{seeds}']
    labels: {labels}
mixture:
  decay: {{recalled_rounds: {{zh: null}}}}
description: two pages
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b"):
        page = tmp_path / "pages" / "guide" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<p>text</p>", encoding="utf-8")
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("neo_assets.core.recipe.load.RECIPES", tmp_path, raising=False)
    for name in ("_own", "_benchmarks", "laptop"):
        shutil.copyfile(ROOT / "recipes" / f"{name}.yaml", tmp_path / f"{name}.yaml")
    return tmp_path


def recipe(folder: Path, seeds: str, labels: str = "null") -> Path:
    file = folder / "mine.yaml"
    file.write_text(RECIPE.format(folder=folder / "pages", seeds=seeds, labels=labels), encoding="utf-8")
    return file


def test_seeds_that_match_nothing_are_told_with_their_line(folder: Path) -> None:
    file = str(recipe(folder, "/handbook/"))
    found = refusals(load(file), Store(folder / "store"), written_at(file))
    assert len(found) == 1 and found[0].startswith(
        "mine.yaml:17: high_quality.en.seed_urls match none of the 2 addresses"
    )
    assert "http://texts.example/guide/" in found[0]
    assert refusals(load(str(recipe(folder, "/guide/"))), Store(folder / "store"), written_at(file)) == []


def test_labels_of_another_text_are_told(folder: Path) -> None:
    labels = folder / "labels.jsonl"
    labels.write_text(json.dumps({"url": "http://other.example/x", "good": True}) + "\n", encoding="utf-8")
    file = str(recipe(folder, "/guide/", str(labels)))
    found = refusals(load(file), Store(folder / "store"), written_at(file))
    assert len(found) == 1 and found[0].startswith("mine.yaml:18: high_quality.en.labels are of another text")
    labels.write_text(json.dumps({"url": "http://texts.example/guide/a.html", "good": True}) + "\n", encoding="utf-8")
    assert refusals(load(file), Store(folder / "store"), written_at(file)) == []


def test_of_addresses_that_nobody_knows_yet_nothing_is_said(folder: Path) -> None:
    file = recipe(folder, "/handbook/")
    file.write_text(file.read_text().replace(f"path: {folder / 'pages'}", f"path: {folder / 'none'}"))
    assert known_addresses(load(str(file)), Store(folder / "store")) is None
    assert refusals(load(str(file)), Store(folder / "store"), written_at(str(file))) == []


def test_plan_refuses_by_exit_code_and_marks_what_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_RECIPE", str(recipe(folder, "/handbook/")))
    done = CliRunner().invoke(app, ["plan"])
    assert done.exit_code == 2 and "The build would stop:\n  mine.yaml:17: " in done.output
    assert "to be made" in done.output and "·" not in done.output  # all alike: no mark says anything
    told = json.loads(CliRunner().invoke(app, ["plan", "--json"]).output)[0]
    assert set(told["states"].values()) == {"missing"} and len(told["refused"]) == 1
    monkeypatch.setenv("NEO_RECIPE", str(recipe(folder, "/guide/")))
    assert CliRunner().invoke(app, ["plan"]).exit_code == 0


def test_plan_and_status_of_a_new_recipe_can_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_RECIPE", str(recipe(folder, "/guide/")))
    monkeypatch.setenv("NEO_STORE", str(folder / "store"))
    planned = {
        line[:26].strip(): line[26:].strip() for line in CliRunner().invoke(app, ["plan", "decay"]).output.splitlines()
    }
    assert re.fullmatch(r"\d+ s", planned["time"]) and re.fullmatch(r"\d+, [\d.]+ MB", planned["checkpoints"])
    assert planned["a checkpoint"].endswith(" MB") and not {"hours", "days", "bytes a checkpoint"} & planned.keys()
    said = CliRunner().invoke(app, ["status"]).output
    assert said.count("not asked for yet") == 1 and "  benchmark_items, sources/" in said  # one line for all alike
    assert "Asking now makes" in said and "about 0 s" not in said


def test_what_is_not_here_is_told_with_its_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recipe(folder, "/guide/")
    file.write_text(file.read_text().replace(f"path: {folder / 'pages'}", f"path: {folder / 'none'}"))
    monkeypatch.setenv("NEO_RECIPE", str(file))
    done = CliRunner().invoke(app, ["plan"])
    assert done.exit_code == 0 and "not here yet:\n  mine.yaml:7: sources.help_en: there is no folder" in done.output


@pytest.mark.parametrize(
    ("field", "line"),
    [("sources.help_en.path", 9), ("sources.help_en.none", 7), ("high_quality.en.seed_urls", 17), ("description", 21)],
)
def test_where_a_field_is_written(folder: Path, field: str, line: int) -> None:
    where = written_at(str(recipe(folder, "/guide/")))
    assert where(field) == f"mine.yaml:{line}"
    assert where("tokenizer.vocab_size").startswith("_own.yaml:")
