"""The flight recorder and the hang watch: what looks wrong is kept with its documents, stops where the recipe says so,
and can be gone around.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core.errors import JobFailed
from neo_assets.core.jobs import JobFolder
from neo_assets.core.recipe.run import OnTrouble
from resources.compute.local import LocalCompute, _processes_of
from tests.training.runs import EVERY, checkpoint, outcome, small_job, small_run, write_shards
from training.ledger import RunLedger
from training.recorder import FlightRecorder, kept
from training.spec import PretrainConfig

POLICY = OnTrouble(spike="flag", spike_factor=3.0, window=4)


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCompute]:
    made = LocalCompute(tmp_path_factory.mktemp("store"))
    write_shards(made.root / "shards")
    yield made
    for folder in (made.root / "jobs").glob("*"):
        made.stop(folder.name, None)


def judged(values: list[tuple[float, float]], policy: OnTrouble = POLICY) -> list[str | None]:
    recorder = FlightRecorder(policy)
    return [
        found.kind if (found := recorder.judge(step, loss, norm)) else None
        for step, (loss, norm) in enumerate(values, 1)
    ]


def test_a_step_is_judged_by_the_median_of_those_before() -> None:
    calm = [(5.0, 1.0)] * 4
    assert judged([*calm, (14.9, 2.9), (5.0, 1.0)]) == [None] * 6
    assert judged([*calm, (15.1, 1.0), (5.0, 1.0)]) == [None] * 4 + [
        "loss_spike",
        None,
    ]  # one spike does not make the next look high
    assert judged([*calm, (5.0, 3.1)]) == [None] * 4 + ["gradient_jump"]
    assert judged([(5.0, 1.0), (50.0, 9.0)]) == [None, None]  # not before the window is full
    assert judged([(float("nan"), 1.0)]) == judged([(5.0, float("inf"))]) == ["not_a_number"]


def test_a_spike_stops_the_run_where_the_recipe_says_so_and_can_be_gone_around(compute: LocalCompute) -> None:
    """The rate is a thousand times too high from a step on: the loss jumps, the run stops there, and nothing of it is
    saved.
    """
    wild = small_run().schedule.model_dump() | {
        "warmup_start_lr": 1e-3,
        "warmup_steps": 10,
        "peak_lr": 30.0,
        "min_lr": 1e-4,
    }
    job = small_job(
        compute.root,
        compute.root / "shards",
        "wild",
        schedule=wild,
        on_trouble={"spike": "stop", "spike_factor": 1.5, "window": 4},
        checkpoint_every=2,
    )
    folder = compute.submit(job)
    with pytest.raises(
        JobFailed,
        match=(
            r"stopped at step \d+: (loss spike|gradient jump|not a number)\. No checkpoint was written of it.*neo"
            r" continue wild@\d+ --without-steps"
        ),
    ):
        list(compute.follow(folder))
    (trouble,) = kept(folder.path)
    assert not checkpoint(job, trouble.step).exists() and checkpoint(job, (trouble.step - 1) // 2 * 2).is_dir()
    ledger = RunLedger.of(PretrainConfig.model_validate(job.config), compute.root / "shards")
    assert {str(d["doc_id"]) for d in trouble.documents} == set(
        ledger.saw(trouble.step, trouble.step).column("doc_id").to_pylist()
    )
    assert trouble.samples == [(trouble.step - 1) * 8, trouble.step * 8]


def test_a_flagged_spike_is_reported_and_the_run_goes_on(compute: LocalCompute) -> None:
    job = small_job(
        compute.root,
        compute.root / "shards",
        "flagged",
        steps=8,
        on_trouble={"spike": "flag", "spike_factor": 1.0001, "window": 2},
    )
    folder = compute.submit(job)
    told = [m.data for m in compute.follow(folder) if m.event == "trouble"]
    assert [t["step"] for t in told] == [t.step for t in kept(folder.path)] != []
    plain = small_job(compute.root, compute.root / "shards", "unflagged", steps=8)
    list(compute.follow(compute.submit(plain)))
    assert outcome(job, 8) == outcome(plain, 8)  # watching changes no bit


def test_a_rank_that_hangs_leaves_every_ranks_stacks_and_the_run_its_bits(compute: LocalCompute) -> None:
    job = small_job(compute.root, compute.root / "shards", "hung", 2, hang_after_s=8.0, global_batch=96)
    folder = compute.submit(job)
    messages = compute.follow(folder)
    next(m for m in messages if m.event == "checkpoint" and m.data["step"] == EVERY)
    stopped = rank(folder, 1)
    os.kill(stopped, signal.SIGSTOP)
    stacks = folder.path / "stacks" / "rank0.txt"
    deadline = time.monotonic() + 60
    while not (stacks.is_file() and stacks.stat().st_size):
        assert time.monotonic() < deadline, "rank 0 did not notice that it waits for nobody"
        time.sleep(0.2)
    os.kill(stopped, signal.SIGKILL)
    list(messages)
    assert "Timeout" in stacks.read_text() and "optimizer_step" in stacks.read_text()
    assert "what a rank was doing" in folder.log_tail()
    assert len(folder.attempts()) == 2


def rank(folder: JobFolder, number: int) -> int:
    for pid in _processes_of(folder.fingerprint):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"neo_assets.core.launch" in arguments and f"RANK={number}".encode() in Path(
            f"/proc/{pid}/environ"
        ).read_bytes().split(b"\0"):
            return pid
    raise AssertionError(f"rank {number} is not running")
