"""`neo plan --data`: what the data half takes, by the sizes of files before it is read, and by what is made after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.build import stages
from neo_assets.cli import app
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.house.data_plan import RATES, TEXT, data_plan


def planned(monkeypatch: pytest.MonkeyPatch, store: Path, warc: Path) -> list[dict[str, object]]:
    monkeypatch.setenv("NEO_RECIPE", "speedrun")
    monkeypatch.setenv("NEO_STORE", str(store))
    monkeypatch.setenv("NEO_WARC", str(warc))
    done = CliRunner().invoke(app, ["plan", "--data", "--json"])
    assert done.exit_code == 0, done.output
    rows: list[dict[str, object]] = json.loads(done.output)
    return rows


def test_hours_follow_the_sizes_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "warc").mkdir()
    for i in range(4):
        with (tmp_path / "warc" / f"{i}.warc.gz").open("wb") as stream:
            stream.truncate(250_000_000_000)
    rows = {row["step"]: row for row in planned(monkeypatch, tmp_path / "store", tmp_path / "warc")}
    assert rows["raw_crawl/pages"]["files"] == 4 and rows["raw_crawl/pages"]["reads"] == "1 TB"
    assert rows["page_text/pages"]["core hours"] == pytest.approx(1e6 / RATES["page_text"].read / 3600, rel=0.06)
    text = 1e6 * TEXT["warc"]
    assert rows["signals/pages"]["core hours"] == pytest.approx(text / RATES["signals"].read / 3600, rel=0.06)
    assert "guessed" in str(rows["matrix"]["reads"]) and rows["matrix"]["files"] == 8192
    half = rows["near_dedup/en"]["core hours"]
    assert half == rows["near_dedup/zh"]["core hours"] and half == pytest.approx(
        text / 2 / RATES["near_dedup"].read / 3600, rel=0.06
    )


def test_what_was_never_crawled_is_said_to_be_unknown(tmp_path: Path) -> None:
    recipe = load("laptop")
    rows, unknown = data_plan(recipe, Store(tmp_path), stages(recipe))
    assert any("known when it was crawled" in line for line in unknown)
    assert all(row["step"] != "documents/handbook" for row in rows)


def test_every_step_over_files_has_a_rate() -> None:
    recipe = load("laptop")
    without = {"sources", "benchmark_items", "heldout_tasks", "tokenizer", "fertility", "pdf_text", "withdrawn"}
    names = list(stages(recipe))
    kinds = {name.partition("/")[0] for name in names[: names.index("token_shards/decay") + 1]}
    assert kinds - without == set(RATES) & kinds
