"""Jobs on a real Slurm: one piece of work is one job, through preemption, node failure, a restarted controller and a
dead submitter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from neo_assets.core.errors import JobFailed, MachineLacks, NeoError
from neo_assets.core.jobs import JobFolder, JobSpec, JobState, job_folders
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.store import Store
from neo_assets.evaluate.score import ScoreInput, Scorer
from resources.compute import open_compute
from resources.compute.base import STARTABLE
from resources.compute.local import LocalCompute
from resources.compute.slurm import SlurmCompute, job_name
from tests.evaluate.scoring import subject, task, tasks_artifact
from tests.resources.sleeping import sleeper, starts, tell
from tests.resources.sleeping import until as within
from tests.servers import Slurm
from tests.training.folders import save_model
from tests.training.runs import EVERY, STEPS, outcome, small_job, write_shards

SETTINGS = Settings(backend="slurm", workers=1, partition="train", memory="1000")
until = partial(within, seconds=60)  # a scheduler takes its time


@pytest.fixture
def compute(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCompute:
    monkeypatch.setattr("resources.compute.slurm.ASK_SECONDS", 0.2)
    made = open_compute(SETTINGS, tmp_path)
    assert isinstance(made, SlurmCompute)
    return made


def running(compute: SlurmCompute, job: JobSpec) -> JobFolder:
    folder = compute.submit(job)
    until(lambda: starts(job) >= 1)
    return folder


def jobs_named(slurm: Slurm, job: JobSpec) -> list[str]:
    return slurm.command(
        "squeue", "--noheader", "--states=all", f"--name={job_name(job.work_fingerprint)}", "--format=%i"
    ).split()


def restarts(slurm: Slurm, job: JobSpec) -> int:
    return int(slurm.command("scontrol", "show", "job", jobs_named(slurm, job)[0]).partition("Restarts=")[2].split()[0])


def test_submitted_twice_and_by_two_it_is_one_job(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    assert compute.poll(SlurmCompute(compute.root, SETTINGS).submit(job)) is JobState.RUNNING
    # A submitter that died between sbatch and noting the id has left a job that only its name tells.
    (folder.path / "attempts" / "0001.json").unlink()
    assert compute.poll(compute.submit(job)) is JobState.RUNNING
    tell(job, "end")
    until(lambda: compute.look_up(job.work_fingerprint) is None)
    assert (starts(job), len(jobs_named(slurm, job))) == (1, 1)
    compute.submit(job)
    assert [m.event for m in compute.follow(folder)][-1] == "done"


def test_a_preempted_job_saves_and_is_back_in_the_queue_under_its_id(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    urgent = subprocess.run(
        [
            "sbatch",
            "--parsable",
            "--partition=urgent",
            "--ntasks=2",
            "--mem=1000",
            "--output=/dev/null",
            "--wrap=sleep 1",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    until(lambda: [m.event for m in folder.messages()[0]] == ["note", "stopped", "note"])
    assert starts(job) == 2
    assert urgent not in slurm.command("squeue", "--noheader", "--format=%i").split()
    tell(job, "end")
    list(compute.follow(folder))
    assert (len(jobs_named(slurm, job)), len(folder.attempts()), folder.failures()) == (1, 1, 0)
    assert restarts(slurm, job) == 1


def test_the_warning_before_the_time_limit_is_a_save_and_another_turn(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    assert "--signal=B:USR1@120" in compute.options(folder, job)
    slurm.command("scancel", "--signal=USR1", "--batch", jobs_named(slurm, job)[0])  # what Slurm does then
    until(lambda: starts(job) == 2)
    assert next(m for m in folder.messages()[0] if m.event == "stopped").data["reason"] == "time limit or preemption"
    tell(job, "end")
    list(compute.follow(folder))
    assert len(jobs_named(slurm, job)) == 1


def test_pause_cancel_and_resume_hold_in_the_queue_and_out_of_it(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    assert compute.pause(folder) is JobState.PAUSED
    assert compute.poll(compute.submit(job)) is JobState.PAUSED
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    waiting = sleeper(compute)
    slurm.command("scontrol", "update", "PartitionName=train", "State=DOWN")
    try:
        queued = compute.submit(waiting)
        assert compute.poll(queued) is JobState.QUEUED
        assert compute.pause(queued) is JobState.PAUSED
    finally:
        slurm.command("scontrol", "update", "PartitionName=train", "State=UP")
    compute.cancel(folder)
    assert compute.poll(folder) is JobState.CANCELLED
    with pytest.raises(JobFailed, match="neo resume"):
        list(compute.follow(folder))
    assert slurm.command("squeue", "--noheader") == ""


def test_a_job_ended_by_scancel_is_not_started_again(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute, attempts=3)
    folder = running(compute, job)
    slurm.command(
        "scancel", jobs_named(slurm, job)[0]
    )  # which is a SIGTERM first: the program saves, and its script would queue again
    with pytest.raises(JobFailed, match="was cancelled"):
        list(compute.follow(folder))
    assert (starts(job), len(jobs_named(slurm, job))) == (1, 1)
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    compute.cancel(folder)


def test_a_job_killed_as_a_machine_fails_is_started_again(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute, attempts=3)
    folder = running(compute, job)
    compute.kill(folder)
    assert compute.poll(folder) in STARTABLE and not folder.cancelled
    compute.submit(job)
    until(lambda: starts(job) == 2)
    compute.cancel(folder)


def test_a_job_outlives_its_node_and_its_controller(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute)
    folder = running(compute, job)
    slurm.stop_controller()
    try:
        assert compute.poll(folder) is JobState.RUNNING  # no answer is no end
    finally:
        slurm.start_controller()
    assert compute.poll(compute.submit(job)) is JobState.RUNNING
    slurm.node_down()
    try:
        until(lambda: compute.poll(folder) is JobState.QUEUED)
    finally:
        slurm.node_up()
    until(lambda: starts(job) == 2)
    tell(job, "end")
    list(compute.follow(folder))
    assert (len(jobs_named(slurm, job)), folder.failures()) == (1, 0)


def test_failures_of_its_own_are_tried_again_up_to_the_cap(slurm: Slurm, compute: SlurmCompute) -> None:
    job = sleeper(compute, attempts=2)
    folder = running(compute, job)
    messages = compute.follow(folder)
    tell(job, "leave")  # exit code 0, and not done
    until(lambda: [m.data.get("starts") for m in folder.messages()[0]] == [1] or starts(job) == 2)
    assert [next(messages).data["starts"] for _ in range(2)] == [1, 2]
    assert "ended without saying that it was done" in folder.log_file.read_text()
    tell(job, "fail")
    with pytest.raises(JobFailed, match=r"(?s)after 2 attempt.*told to fail"):
        list(messages)
    assert len(jobs_named(slurm, job)) == 2


def test_what_slurm_refuses_is_said_in_its_words(slurm: Slurm, compute: SlurmCompute) -> None:
    refused = open_compute(SETTINGS.model_copy(update={"partition": "nowhere"}), compute.root)
    with pytest.raises(NeoError, match="invalid partition"):
        refused.submit(sleeper(compute))


def test_without_slurm_s_commands_a_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = open_compute(SETTINGS, tmp_path)
    with pytest.raises(MachineLacks, match=r"no `squeue` here.*compute\.backend: local"):
        made.look_up("x")


def test_a_training_run_of_two_ranks_preempted_and_killed_has_the_bits_of_a_local_one(
    slurm: Slurm, compute: SlurmCompute
) -> None:
    """DeepSpeed under srun: preempted, put back, a rank killed, tried again; checkpoint by checkpoint the same as under
    torchrun.
    """
    shards = write_shards(compute.root / "shards")
    local = LocalCompute(compute.root)
    whole = small_job(compute.root, shards, "local", global_batch=96)
    list(local.follow(local.submit(whole)))

    job = small_job(compute.root, shards, "slurm", attempts=2, global_batch=96)
    folder = compute.submit(job)
    messages = compute.follow(folder)
    next(m for m in messages if m.event == "checkpoint")
    subprocess.run(
        ["sbatch", "--partition=urgent", "--ntasks=2", "--mem=1000", "--output=/dev/null", "--wrap=sleep 1"],
        check=True,
        capture_output=True,
    )
    resumed = next(m for m in messages if m.event in ("stopped", "done"))
    assert resumed.event == "stopped"
    next(m for m in messages if m.event in ("checkpoint", "progress"))
    os.kill(_a_rank(folder), signal.SIGKILL)
    list(messages)
    assert "back into the queue" in folder.log_file.read_text()
    assert len(jobs_named(slurm, job)) == len(folder.attempts())
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(job, step) == outcome(whole, step), f"step {step}"
    shutil.rmtree(compute.root / "checkpoint")


def test_a_preempted_evaluation_keeps_its_finished_tasks_and_is_asked_the_others(
    slurm: Slurm, compute: SlurmCompute, tmp_path: Path
) -> None:
    store = Store(compute.root)
    artifact = tasks_artifact(store, task("first"), task("long", 3000), task("other"))
    model = save_model(tmp_path / "model")
    asked = replace(subject("a"), folder=model)
    score = ScoreInput(
        tasks={"first": None, "long": None, "other": None},
        batch_size=4,
        device="cpu",
        dtype="fp32",
        seed=0,
        samples={},
        sample_tokens=1,
        repetition_penalty=1.0,
    )
    heard: list[str] = []

    def log(line: str) -> None:
        heard.append(line)
        if "first: acc_norm" in line and len([h for h in heard if "first:" in h]) == 1:
            subprocess.run(
                ["sbatch", "--partition=urgent", "--ntasks=2", "--mem=1000", "--output=/dev/null", "--wrap=sleep 1"],
                check=True,
                capture_output=True,
            )

    scores, made = Scorer(store, compute, score, 1, [artifact], log).scored(asked)
    assert sorted(made) == ["first", "long", "other"] and len(scores) == 3
    (folder,) = [f for f in job_folders(store.root) if f.spec().program == "training.evaluate"]
    said = folder.log_file.read_text()
    assert "saved (" in said and "back into the queue" in said and "first: already scored" in said, said
    assert (len(folder.attempts()), folder.failures()) == (1, 0), "being preempted is no failure"


def _a_rank(folder: JobFolder) -> int:
    from resources.compute.local import _processes_of

    for pid in _processes_of(folder.fingerprint):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"neo_assets.core.launch" in arguments and b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(
            b"\0"
        ):
            return pid
    raise AssertionError("no rank is running")
