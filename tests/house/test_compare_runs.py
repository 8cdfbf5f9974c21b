"""Runs beside each other: curves of each, and every setting that is not alike."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.manifest import Manifest
from neo_assets.core.store import Artifact, InputRef, MadeFrom, Outcome, Store, Workspace
from neo_assets.house.compare_runs import Compared, differences
from neo_assets.pages.page import loads


def trained(store: Store, recipe: str, run: str, rate: float, shards: str, code: str = "0" * 32) -> None:
    metrics = pa.table({"step": [1, 2], "tokens": [10, 20], "loss": [3.0, rate], "lr": [rate, rate]})

    def work(out: Workspace) -> Outcome:
        out.write("metrics.parquet", metrics)
        return Outcome(digest=f"{recipe}{run}", numbers={"steps": 2, "trained_tokens": 20, "last_tenth_loss": rate})

    made_from = MadeFrom(
        config={"name": run, "run": {"schedule": {"peak_lr": rate}, "seed": 1}},
        code={"training.loop": code},
        libraries={"torch": "2.13.0"},
        inputs={"token_shards/x": InputRef(fingerprint="f", digest=shards)},
    )
    made, _ = store.build(f"pretraining/{run}", made_from, work)
    store.set_head(recipe, f"pretraining/{run}", f"pretraining/{run}", made.fingerprint)
    score = {
        "task": "bits_per_byte_en", "metric": "bits_per_byte", "step": 2, "tokens": 20, "value": rate, "stderr": 0.1,
        "n": 9, "chance": 8.0, "higher_is_better": False, "attempt": 1, "main": True, "headline": True,
    }  # fmt: skip
    made, _ = store.build(
        f"evaluation/{run}",
        MadeFrom(config={"of": made.fingerprint}, code={}, libraries={}, inputs={}),
        lambda out: (out.write_text("scores.json", json.dumps([score])), Outcome(digest=f"e{rate}"))[1],
    )
    store.set_head(recipe, f"evaluation/{run}", f"evaluation/{run}", made.fingerprint)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    made = Store(tmp_path / "store")
    trained(made, "ci", "main", 0.5, "a" * 32)
    trained(made, "other", "main", 0.25, "b" * 32)
    trained(made, "ci", "again", 0.5, "a" * 32, code="1" * 32)
    return made


def test_what_differs_is_told_and_what_is_alike_is_not(store: Store, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["compare-runs", "main", "other:main", "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "run.schedule.peak_lr" in done.output and "input token_shards/x" in done.output
    assert "seed" not in done.output and "library torch" not in done.output and "code" not in done.output
    text = page.read_text(encoding="utf-8")
    assert text.count('class="chart several"') == 3 and "bits_per_byte_en" in text and not loads(text)


def test_a_setting_that_one_run_lacks_and_another_leaves_open_is_no_difference() -> None:
    def of(run: dict[str, object]) -> Compared:
        made = MadeFrom(config={"run": run}, code={}, libraries={}, inputs={})
        manifest = Manifest.model_construct(made_from=made)
        return Compared("ci", "m", str(len(run)), Artifact("k", Path(), manifest, []), None)

    told = differences([of({"parent": {"run": "main", "step": None}, "x": 1}), of({"x": 1})])
    assert told == {"run.parent.run": {"2": "main", "1": "–"}}


def test_other_code_is_a_difference(store: Store, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare-runs", "main", "again", "--json"])
    rows = json.loads(done.output)
    assert [list(row["differs"]) for row in rows] == [["code"], ["code"]]
    assert rows[0]["differs"]["code"] != rows[1]["differs"]["code"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "recipe 'ci' has no run 'none' that has ended; it has again, main"),
        ("othr:main", "no build of a recipe 'othr'. Did you mean other?"),
    ],
)
def test_a_run_that_is_none_is_told(store: Store, name: str, said: str) -> None:
    assert said in str(CliRunner().invoke(app, ["compare-runs", "main", name]).exception)
