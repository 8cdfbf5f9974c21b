"""A tiny training run on made-up tokens, and what a test asks of it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec, JobState, Message
from neo_assets.core.recipe import load
from neo_assets.core.recipe.run import Run
from neo_assets.core.trainings import PROGRAMS, Learning
from resources.compute.base import Compute
from resources.compute.local import _processes_of
from training.spec import PretrainConfig, Start, checkpoint_name

STEPS, EVERY = 40, 4
ROWS = 512
OUTCOME = ("step", "trained_tokens", "next_sample", "history_digest", "state_digests")


def write_shards(folder: Path, tokens: int = 20_000, documents: int = 60) -> Path:
    """A ``token_shards`` folder of random tokens, cut into documents at random places."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    (generator.zipf(1.3, tokens) % 500).astype(np.uint16).tofile(folder / "tokens.bin")
    offsets = np.unique(np.concatenate([[0], generator.choice(tokens, documents, replace=False), [tokens]])).astype(
        np.int64
    )
    np.save(folder / "offsets.npy", offsets)
    count = len(offsets) - 1
    # Every third document is one that came before, in another round of the mixture.
    ids = [f"{i - 3 if i % 3 == 2 and i > 3 else i:032x}" for i in range(count)]
    index = {
        "position": offsets[:-1],
        "doc_id": ids,
        "round": [0] * count,
        "source": ["s"] * count,
        "lang": ["en"] * count,
        "tokens": np.diff(offsets),
    }
    pq.write_table(pa.table(index), folder / "index.parquet")
    digest = digest_json({n: digest_file(folder / n) for n in ("tokens.bin", "offsets.npy")})
    (folder / "stream.json").write_text(json.dumps({"dtype": "uint16", "digest": digest}))
    return folder


def small_run(**changes: object) -> Run:
    """The `ci` recipe's run on two ranks, ``STEPS`` steps long, a checkpoint every ``EVERY``."""
    run = load("ci").runs["main"]
    schedule = run.schedule.model_copy(update={"decay_steps": STEPS})
    return Run.model_validate(
        run.model_copy(
            update={
                "ranks_per_node": 2,
                "steps": STEPS,
                "checkpoint_every": EVERY,
                "early_checkpoints": 0,
                "schedule": schedule,
            }
        ).model_dump()
        | changes
    )


def small_job(
    root: Path,
    shards: Path,
    name: str,
    attempts: int = 1,
    start: Start | None = None,
    learns: Learning = "pretraining",
    rows: int = ROWS,
    **changes: object,
) -> JobSpec:
    run = small_run(**changes)
    fingerprint = f"{name}{os.getpid():010d}".ljust(32, "0")
    config = PretrainConfig(run_name=name, run_fingerprint=fingerprint, run=run, vocab_rows=rows, start=start)
    return JobSpec(
        work_fingerprint=fingerprint,
        title=f"{learns}/{name}",
        program=PROGRAMS[learns],
        **claimed(PROGRAMS[learns]),
        ranks_per_node=run.ranks_per_node,
        threads_per_rank=run.threads_per_rank,
        max_attempts=attempts,
        config=config.model_dump(),
        inputs={"token_shards": str(shards)},
        out=str(root / "checkpoint" / name),
    )


def checkpoint(job: JobSpec, step: int) -> Path:
    return Path(job.out) / checkpoint_name(step, job.work_fingerprint)


def outcome(job: JobSpec, step: int) -> dict[str, Any]:
    """What must be equal in two runs that did the same, as a checkpoint's certificate has it."""
    content = json.loads((checkpoint(job, step) / "certificate.json").read_text())
    return {name: content[name] for name in OUTCOME}


def kill(folder: JobFolder) -> None:
    """SIGKILL to every process of a job at once."""
    for pid in _processes_of(folder.fingerprint):
        os.kill(pid, signal.SIGKILL)


def killed_after(compute: Compute, job: JobSpec, step: int) -> tuple[JobFolder, Iterator[Message]]:
    """Submit a job and kill it soon after it has saved this step: on a busy machine it may have saved later ones, so
    what it went on from is asked for by ``resumed_from``. Returns its folder, and its messages to come: who reads on
    has it start again.
    """
    folder = compute.submit(job)
    messages = compute.follow(folder)
    deadline = time.monotonic() + 300
    while not checkpoint(job, step).is_dir():
        assert compute.poll(folder) in (JobState.NEW, JobState.QUEUED, JobState.RUNNING), folder.log_tail()
        assert time.monotonic() < deadline, f"step {step} was not saved"
        time.sleep(0.01)
    kill(folder)
    return folder, messages


def resumed_from(folder: JobFolder) -> list[int]:
    """The steps that a job's attempts went on from, as its log has them."""
    return [int(step) for step in re.findall(r"from step (\d+)", folder.log_file.read_text())]
