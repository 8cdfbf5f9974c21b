"""Killed and started again, a run ends with the same bits; a damaged checkpoint is never loaded."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neo_assets.core.jobs import JobFolder, JobSpec
from neo_assets.core.recipe import load
from resources.compute.local import LocalCompute, _processes_of
from training.spec import PretrainConfig, checkpoint_name

STEPS, EVERY = 40, 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    generator = np.random.default_rng(0)
    (generator.zipf(1.3, 20_000) % 500).astype(np.uint16).tofile(folder / "tokens.bin")
    np.save(folder / "offsets.npy", np.unique(np.concatenate([[0], generator.choice(20_000, 60, replace=False), [20_000]])).astype(np.int64))
    (folder / "stream.json").write_text(json.dumps({"dtype": "uint16", "digest": "test"}))
    return folder


def job(root: Path, shards: Path, name: str, attempts: int) -> JobSpec:
    run = load("ci").runs["main"]
    run = run.model_copy(update={"steps": STEPS, "checkpoint_every": EVERY, "early_checkpoints": 0, "schedule": run.schedule.model_copy(update={"decay_steps": STEPS})})
    fingerprint = f"{name}{os.getpid():010d}".ljust(32, "0")
    config = PretrainConfig(run_name=name, run_fingerprint=fingerprint, run=run, vocab_rows=512, checkpoints=str(root / "checkpoint" / name))
    return JobSpec(
        work_fingerprint=fingerprint,
        title=f"pretraining/{name}",
        program="training.pretrain",
        ranks_per_node=run.ranks_per_node,
        max_attempts=attempts,
        config=config.model_dump(),
        inputs={"token_shards": str(shards)},
        out=str(root / "checkpoint" / name),
    )


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCompute]:
    made = LocalCompute(tmp_path_factory.mktemp("store"))
    yield made
    for folder in (made.root / "jobs").glob("*"):
        made.stop(folder.name, None)


def certificate(spec: JobSpec, step: int) -> dict[str, object]:
    content = json.loads((Path(spec.out) / checkpoint_name(step, spec.work_fingerprint) / "certificate.json").read_text())
    return {name: content[name] for name in ("step", "trained_tokens", "next_sample", "history_digest", "state_digests")}


def kill(folder: JobFolder) -> None:
    for pid in _processes_of(folder.fingerprint):
        os.kill(pid, signal.SIGKILL)


def test_a_killed_run_resumes_bit_identically_past_a_damaged_checkpoint(compute: LocalCompute, shards: Path) -> None:
    undisturbed = job(compute.root, shards, "whole", 1)
    list(compute.follow(compute.submit(undisturbed)))

    disturbed = job(compute.root, shards, "killed", 2)
    folder = compute.submit(disturbed)
    messages = compute.follow(folder)
    for message in messages:
        if message.event == "checkpoint" and message.data["step"] == EVERY:
            break
    kill(folder)
    # The newest checkpoint loses a bit: the run must notice, go back one, and still end the same.
    newest = max(step for step in range(EVERY, STEPS, EVERY) if (Path(disturbed.out) / checkpoint_name(step, disturbed.work_fingerprint)).is_dir())
    state = next((Path(disturbed.out) / checkpoint_name(newest, disturbed.work_fingerprint) / "state").glob("*optim*.pt"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(bytes(data))
    list(messages)

    assert len(folder.attempts()) == 2
    assert "is damaged" in folder.log_file.read_text()
    assert f"from step {newest - EVERY}" in folder.log_file.read_text()
    for step in range(0, STEPS + 1, EVERY):
        assert certificate(disturbed, step) == certificate(undisturbed, step), f"step {step}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_any_moments_ends_with_the_same_bits(compute: LocalCompute, shards: Path, seed: int) -> None:
    """Kills fall into imports, steps and saves alike; what is left of a save is never taken for a checkpoint."""
    undisturbed = job(compute.root, shards, "whole", 1)
    begun = time.monotonic()
    list(compute.follow(compute.submit(undisturbed)))
    takes = time.monotonic() - begun  # kills fall into this, on a fast machine as on a slow one

    kills, generator = 4, np.random.default_rng(seed)
    disturbed = job(compute.root, shards, f"random{seed}", kills + 1)
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
    for step in range(0, STEPS + 1, EVERY):
        assert certificate(disturbed, step) == certificate(undisturbed, step), f"step {step}"
