"""The paper's recipe can be tried here: its own job, two narrow layers of it, killed, resumed, verified, exported and
asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import load
from neo_assets.runs.rehearse import differences, narrowed


def rehearse(store: Path, recipe: str, run: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))} | {
        "NEO_RECIPE": recipe,
        "NEO_STORE": str(store),
    }
    command = [sys.executable, "-m", "neo_assets.cli", "rehearse", run, "--json", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.slow  # three minutes; what it tries is tried below, with pairs
@pytest.mark.timeout(1000)
def test_the_papers_7b_is_rehearsed_to_its_end(tmp_path: Path) -> None:
    done = rehearse(tmp_path, "neo-7b", "main")
    rows = json.loads(done.stdout)
    assert done.returncode == 0 and all(row["holds"] for row in rows), rows
    assert [row["what"].split()[0].rstrip(":") for row in rows] == [
        "trains",
        "killed",
        "the",
        "every",
        "exported",
        "the",
    ]
    assert "nodes 64 -> 1" in rows[0]["differs"] and "model.layers 28 -> 2" in rows[0]["differs"]
    assert not any((tmp_path / "rehearsals").iterdir())  # what held leaves nothing behind


TUNED = """
extends: ci
align:
  preferences: {liked: {paths: [pairs.jsonl], licence: CC0-1.0, snapshot: "1", lang: en}}
  reward: {taste: {rounds: {liked: 1}}}
  dpo: {better: {rounds: {liked: 1}, beta: 0.1, sft_weight: 0.1}}
runs:
  likes: {like: decay, parent: {run: decay}, phase: taste}
  prefers: {like: decay, parent: {run: decay}, phase: better}
"""


@pytest.mark.parametrize(("run", "tried"), [pytest.param("likes", 5, marks=pytest.mark.slow), ("prefers", 6)])
def test_what_learns_from_pairs_is_rehearsed_too(tmp_path: Path, run: str, tried: int) -> None:
    for base in ("ci", "laptop", "_benchmarks"):
        (tmp_path / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(TUNED)
    done = rehearse(tmp_path / "store", str(tmp_path / "mine.yaml"), run)
    rows = json.loads(done.stdout)
    assert done.returncode == 0 and all(row["holds"] for row in rows) and len(rows) == tried, rows
    assert "starts from scratch" in rows[0]["differs"]


def test_what_fails_is_named_and_ends_the_rehearsal(tmp_path: Path) -> None:
    for base in ("laptop", "_benchmarks"):
        (tmp_path / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
    (tmp_path / "mine.yaml").write_text("extends: laptop\nruns: {main: {attention: torch_varlen}}\n")
    done = rehearse(tmp_path / "store", str(tmp_path / "mine.yaml"), "main", "--ranks", "1")
    (row,) = json.loads(done.stdout)
    assert (
        done.returncode == 1
        and not row["holds"]
        and "attention: torch_varlen cannot run here: it runs on CUDA only" in row["detail"]
    )
    assert (tmp_path / "store" / "rehearsals" / "mine.main" / "jobs").is_dir()


@pytest.mark.parametrize(
    ("recipe", "run"),
    [("neo-7b", "main"), ("neo-7b", "decay"), ("neo-7b-released", "decay"), ("neo-2b", "main"), ("laptop", "main")],
)
def test_a_rehearsal_keeps_what_decides_and_says_what_it_changes(recipe: str, run: str) -> None:
    whole = load(recipe).runs[run]
    small = narrowed(whole, 2, gpu=True)
    kept = (
        "micro_batch",
        "accumulation",
        "schedule",
        "optimizer",
        "precision",
        "zero_stage",
        "recompute",
        "attention",
        "across_documents",
        "deterministic",
        "sequence_length",
    )
    assert all(getattr(small, name) == getattr(whole, name) for name in kept)
    assert small.model.head_dim == whole.model.head_dim and small.model.vocab_multiple == whole.model.vocab_multiple
    assert (small.model.kv_heads < small.model.heads) == (whole.model.kv_heads < whole.model.heads)
    told = differences(whole, small)
    assert f"steps {whole.steps:,} -> {small.steps:,}" in told and "made-up tokens" in told
    assert ("starts from scratch" in told) == (whole.parent is not None)
