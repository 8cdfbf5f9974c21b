"""`neo plan RUN --manifest`: what a scheduler is given can be seen before anything is built, and nothing is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.fingerprint import ROOT


def printed(recipe: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NEO_RECIPE", recipe)
    monkeypatch.setenv("NEO_STORE", str(store))
    done = CliRunner().invoke(app, ["plan", "main", "--manifest"])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_batch_script_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed("neo-7b", tmp_path / "store", monkeypatch)
    said, script = text[: text.index("#!/bin/bash")], text[text.index("#!/bin/bash") :]
    assert "token_shards/fundamental has not been built" in said and "not known" in said
    for option in ("--nodes=64", "--ntasks-per-node=8", "--partition=train", "--requeue", "--signal=B:USR1@120"):
        assert f"\n#SBATCH {option}\n" in script
    assert "srun --export=ALL --kill-on-bad-exit=1 --ntasks=512" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not (tmp_path / "store" / "jobs").exists()


def test_objects_of_what_is_not_built_start_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "extends: laptop\ncompute: {backend: kubernetes, image: ours, volume_claim: store, workers: 1}\n"
    )
    (tmp_path / "laptop.yaml").write_text((ROOT / "recipes" / "laptop.yaml").read_text())
    for base in ("_own", "_benchmarks"):
        (tmp_path / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
    text = printed(str(tmp_path / "cluster.yaml"), tmp_path / "store", monkeypatch)
    (job,) = [one for one in yaml.safe_load_all(text[text.index("---") :]) if one]
    assert job["kind"] == "Job" and job["spec"]["suspend"] is True


def test_here_it_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed("laptop", tmp_path / "store", monkeypatch)
    assert text.splitlines()[-1].startswith("torchrun --standalone --nproc-per-node=2 -m neo_assets.core.launch")
