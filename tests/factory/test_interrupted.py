"""The Dagster run is killed; the training job is not, and the next run takes up where the first was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from neo_assets.core.jobs import JobFolder, JobState
from neo_assets.declare import key
from resources.compute.local import LocalCompute
from tests.factory.conftest import ROOT, Factory

RECIPE = """
runs:
  main: {steps: 60, schedule: {warmup_steps: 2, decay_steps: 60}, early_checkpoints: 0}
  decay: null
"""


def wait_for_checkpoint(
    compute: LocalCompute, known: set[str], dagster_run: subprocess.Popen[bytes] | subprocess.Popen[str]
) -> JobFolder:
    """The job that this run started, as soon as it has saved a checkpoint after the first."""
    for _ in range(4800):
        for path in (compute.root / "jobs").iterdir():
            folder = JobFolder(path)
            if path.name not in known and sum(m.event == "checkpoint" for m in folder.messages()[0]) >= 2:
                return folder
        assert dagster_run.poll() is None, "the run ended before its training job did"
        time.sleep(0.05)
    raise AssertionError("no checkpoint in four minutes")


def test_a_killed_dagster_run_costs_no_training(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    extra = factory.another_recipe(tmp_path, "interrupted", RECIPE)
    compute = LocalCompute(factory.folder / "store")
    known = {path.name for path in (compute.root / "jobs").iterdir()}
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "definitions", "-j", "factory"]
    environment = {**factory.environment, **extra}
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    folder = wait_for_checkpoint(compute, known, run)
    os.killpg(run.pid, signal.SIGKILL)  # Dagster and whatever it started in its own group
    run.wait(timeout=30)
    assert compute.poll(folder) in (JobState.RUNNING, JobState.SUCCEEDED)

    again = factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "pretrain", **extra)
    assert again.returncode == 0, again.stderr[-4000:]
    assert {path.name for path in (compute.root / "jobs").iterdir()} - known == {folder.path.name}
    assert len(folder.attempts()) == 1
    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as dagster:
        records = dagster.fetch_materializations(key("checkpoint/main"), limit=100).records
    count = Counter(str(record.partition_key).split("-")[0] for record in records)
    assert count == {f"{step:07d}": 1 for step in range(0, 61, 10)}


def _hears_ctrl_c() -> None:
    """A suite in the background is deaf to Ctrl-C, and what it starts inherits that; a person's shell is not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_says_what_goes_on_and_how_to_stop_it(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    extra = factory.another_recipe(tmp_path, "ctrl_c", RECIPE.replace("60", "50"))
    compute = LocalCompute(factory.folder / "store")
    known = {path.name for path in (compute.root / "jobs").iterdir()}
    run = subprocess.Popen(
        [sys.executable, "-m", "neo_assets.cli", "demo"],
        cwd=ROOT,
        env={**factory.environment, **extra},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_hears_ctrl_c,
    )
    folder = wait_for_checkpoint(compute, known, run)
    run.send_signal(signal.SIGINT)
    told, _ = run.communicate(timeout=60)
    short = folder.fingerprint[:12]
    assert run.returncode == 130
    assert all(
        command in told for command in ("neo jobs", f"neo logs -f {short}", f"neo cancel {short}", "attaches to it")
    )
    assert "Traceback" not in told
    assert factory.neo("cancel", short, **extra).returncode == 0
    assert compute.poll(folder) is JobState.CANCELLED
