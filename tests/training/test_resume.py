"""Killed, paused or starved and started again, a run ends with the same bits; a damaged checkpoint is never loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from neo_assets.core.errors import JobFailed
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import JobSpec, JobState
from resources.compute.local import LocalCompute
from tests.training.runs import (
    EVERY,
    STEPS,
    checkpoint,
    kill,
    killed_after,
    outcome,
    resumed_from,
    small_job,
    write_shards,
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def undisturbed(compute: LocalCompute, shards: Path) -> JobSpec:
    job = small_job(compute.root, shards, "whole")
    list(compute.follow(compute.submit(job)))
    return job


def same_from_beginning_to_end(job: JobSpec, undisturbed: JobSpec) -> None:
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(job, step) == outcome(undisturbed, step), f"step {step}"


def test_a_killed_run_resumes_bit_identically_past_a_damaged_checkpoint(
    compute: LocalCompute, shards: Path, undisturbed: JobSpec
) -> None:
    disturbed = small_job(compute.root, shards, "killed", 2)
    folder, messages = killed_after(compute, disturbed, EVERY)
    # The newest checkpoint loses a bit: the run must notice, go back one, and still end the same.
    newest = max(step for step in range(EVERY, STEPS, EVERY) if checkpoint(disturbed, step).is_dir())
    state = next((checkpoint(disturbed, newest) / "state").glob("*optim*.pt"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(bytes(data))
    list(messages)

    assert len(folder.attempts()) == 2
    assert "is damaged" in folder.log_file.read_text()
    assert resumed_from(folder) == [0, newest - EVERY]
    same_from_beginning_to_end(disturbed, undisturbed)


ASK = """
from pathlib import Path
from resources.compute.local import LocalCompute
from neo_assets.core.jobs import JobSpec
import sys
LocalCompute(Path(sys.argv[1])).submit(JobSpec.model_validate_json(Path(sys.argv[2]).read_text()))
"""


def test_an_edit_or_a_removed_checkout_under_a_run_changes_nothing_of_it(
    compute: LocalCompute, shards: Path, undisturbed: JobSpec, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    for package in ("neo_assets", "training", "resources", "recipes"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    disturbed = small_job(compute.root, shards, "edited", 2)
    (tmp_path / "spec.json").write_text(disturbed.model_dump_json())
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run(
        [sys.executable, "-c", ASK, str(compute.root), str(tmp_path / "spec.json")],
        cwd=checkout,
        env=environment,
        check=True,
    )
    folder = compute.folder(disturbed.work_fingerprint)
    messages = compute.follow(folder)

    def reaches(step: int) -> None:
        assert any(m.event == "checkpoint" and int(str(m.data["step"])) >= step for m in messages)

    reaches(EVERY)
    program = checkout / "training" / "loop.py"
    text = program.read_text()
    edited = text.replace("set_rate(engine, rate)", "set_rate(engine, rate * 0.5)")
    assert edited != text
    program.write_text(edited)
    kill(folder)
    reaches(2 * EVERY)
    shutil.rmtree(checkout)
    list(messages)
    assert len(folder.attempts()) == 2
    same_from_beginning_to_end(disturbed, undisturbed)


def test_a_job_whose_own_code_was_edited_makes_no_step_and_says_so_once(compute: LocalCompute, shards: Path) -> None:
    tampered = small_job(compute.root, shards, "tampered", 3)
    folder, messages = killed_after(compute, tampered, EVERY)
    program = folder.path / "code" / "training" / "loop.py"
    program.write_text(program.read_text().replace("set_rate(engine, rate)", "set_rate(engine, rate * 0.5)"))
    # This process has the right code and would make the copy anew: a node that starts the job again by itself would
    # not.
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(JobFailed, match=r"refused to run: .*training\.loop has changed"),
    ):
        patch.setattr(type(folder), "freeze", lambda self: None)
        list(messages)
    assert len(folder.attempts()) == 2
    steps = [int(str(m.data["step"])) for m in folder.messages()[0] if m.event == "progress" and m.attempt == 2]
    assert not steps


def test_a_paused_run_goes_on_from_the_very_step_with_the_same_bits(
    compute: LocalCompute, shards: Path, undisturbed: JobSpec
) -> None:
    paused = small_job(
        compute.root, shards, "paused", 1, checkpoint_every=STEPS
    )  # no checkpoint of the cadence in between
    folder = compute.submit(paused)
    while not any(m.event == "checkpoint" for m in folder.messages()[0]):
        time.sleep(0.02)
    assert compute.pause(folder) is JobState.PAUSED
    stopped = next(m for m in folder.messages()[0] if m.event == "stopped")
    step = int(str(stopped.data["step"]))
    assert 0 < step < STEPS and stopped.data["reason"] == "pause"
    assert compute.poll(compute.submit(paused)) is JobState.PAUSED  # asking again does not start what somebody paused
    compute.resume(folder)
    list(compute.follow(folder))
    assert resumed_from(folder) == [0, step]
    assert outcome(paused, STEPS) == outcome(undisturbed, STEPS)
    assert folder.failures() == 0  # a pause is no failure: the one attempt the job has was not used up
    assert not (folder.path / "rescue").exists()


def test_a_full_disk_costs_the_checkpoint_and_nothing_else(
    compute: LocalCompute, shards: Path, undisturbed: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands for the full disk: the writing of every optimizer shard fails half way."""
    starved = small_job(compute.root, shards, "starved", 1)
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -f 300\nexec {__import__("sys").executable} "$@"\n')
    limited.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(limited))
        folder = compute.submit(starved)
    while compute.poll(folder) is JobState.RUNNING:
        time.sleep(0.1)
    assert compute.poll(folder) is JobState.FAILED
    assert "could not be written" in folder.log_tail() and "Those before it are whole" in folder.log_tail()
    assert "File too large" in folder.log_tail()
    compute.resume(folder)
    list(compute.follow(folder))
    same_from_beginning_to_end(starved, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_any_moments_ends_with_the_same_bits(
    compute: LocalCompute, shards: Path, undisturbed: JobSpec, seed: int
) -> None:
    """Kills fall into imports, steps and saves alike; what is left of a save is never taken for a checkpoint."""
    begun = time.monotonic()
    list(compute.follow(compute.submit(small_job(compute.root, shards, f"timed{seed}"))))
    takes = time.monotonic() - begun  # kills fall into this, on a fast machine as on a slow one

    kills, generator = 4, np.random.default_rng(seed)
    disturbed = small_job(compute.root, shards, f"random{seed}", kills + 1)
    folder = compute.submit(disturbed)
    done = threading.Event()

    def disturb() -> None:
        for number in range(1, kills + 1):
            while not (done.is_set() or len(folder.attempts()) >= number):
                time.sleep(0.05)
            if done.wait(float(generator.uniform(0.1, 0.9) * takes)):
                return
            kill(folder)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        list(compute.follow(folder))
    finally:
        done.set()
        disturber.join()
    assert len(folder.attempts()) > 1
    same_from_beginning_to_end(disturbed, undisturbed)
