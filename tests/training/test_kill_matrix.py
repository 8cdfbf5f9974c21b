"""Where a run is killed × how often × on which backend: always the same bits, one job at a time. `pytest -m slow -s`
prints the table of docs/measurements.md.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neo_assets.core.jobs import JobFolder, JobSpec
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute import open_compute
from resources.compute.base import Compute
from resources.compute.local import LocalCompute, _processes_of
from tests.servers import Slurm
from tests.training.runs import EVERY, STEPS, checkpoint, outcome, resumed_from, small_job, write_shards

BATCH = 48


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("store")
    write_shards(made / "shards")
    yield made
    for folder in (made / "jobs").glob("*"):
        LocalCompute(made).stop(folder.name, None)


@pytest.fixture(scope="module")
def whole(root: Path) -> JobSpec:
    job = small_job(root, root / "shards", "whole", global_batch=BATCH)
    local = LocalCompute(root)
    list(local.follow(local.submit(job)))
    return job


def processes(folder: JobFolder, *needles: str) -> list[int]:
    """Processes of a job whose command line or environment holds all of these."""
    found = []
    for pid in _processes_of(folder.fingerprint):
        try:
            told = Path(f"/proc/{pid}/cmdline").read_bytes() + b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if all(needle.encode() in told.split(b"\0") or needle.encode() in told for needle in needles):
            found.append(pid)
    return found


def kill(pids: list[int], number: int = signal.SIGKILL) -> bool:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return bool(pids)


def while_starting(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """Every process, a moment after the ranks were started: in their imports, or in the process group's making."""
    if len(processes(folder, "neo_assets.core.launch\0", "RANK=")) < 2:
        return False
    time.sleep(0.5 + turn)
    return kill(processes(folder))


def between_steps(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """Every process, while no checkpoint is being written."""
    done = [m for m in folder.messages()[0] if m.event == "checkpoint"]
    if len(done) < 2 + turn or any(Path(job.out).glob(".partial-*")):
        return False
    return kill(processes(folder))


def while_saving(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """Every process, in the middle of a checkpoint's writing."""
    partial = [p for p in Path(job.out).glob(".partial-*") if not p.name.startswith(".partial-0000000")]
    return bool(partial) and kill(processes(folder))


def one_rank(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """Rank 1 alone: the other hangs in a collective until its launcher ends it."""
    return checkpoint(job, EVERY * (1 + turn)).is_dir() and kill(
        [p for p in processes(folder, "RANK=1") if p in processes(folder, "neo_assets.core.launch")][-1:]
    )


def the_launcher(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """torchrun, or srun: what started the ranks."""
    return checkpoint(job, EVERY * (1 + turn)).is_dir() and kill(
        processes(folder, "torch.distributed.run") or processes(folder, "srun")
    )


def asked_by_a_signal(folder: JobFolder, job: JobSpec, turn: int) -> bool:
    """SIGTERM to one rank, as on preemption or shutdown: it saves where it is."""
    return checkpoint(job, EVERY * (1 + turn)).is_dir() and kill(
        [p for p in processes(folder, "RANK=0") if p in processes(folder, "neo_assets.core.launch")][-1:],
        signal.SIGTERM,
    )


MOMENTS = (while_starting, between_steps, while_saving, one_rank, the_launcher, asked_by_a_signal)


def disturbed(
    compute: Compute, root: Path, moment: Callable[[JobFolder, JobSpec, int], bool], times: int
) -> tuple[JobSpec, JobFolder]:
    job = small_job(
        root,
        root / "shards",
        f"{compute.name}{moment.__name__.replace('_', '')}{times}",
        attempts=times + 1,
        global_batch=BATCH,
    )
    folder = compute.submit(job)
    for turn in range(times):
        starts = folder.log_file.read_text().count("--- attempt") if folder.log_file.is_file() else 0
        deadline = time.monotonic() + 120
        while not moment(folder, job, turn):
            assert time.monotonic() < deadline, f"{moment.__name__} never came"
            time.sleep(0.01)
        follower = compute.follow(folder)  # starts it again when it notices
        while folder.log_file.read_text().count("--- attempt") <= starts:
            next(follower, None)
            time.sleep(0.05)
    list(compute.follow(folder))
    return job, folder


def told(compute: Compute, moment: Callable[..., bool], times: int, folder: JobFolder) -> None:
    print(
        f"| {compute.name} | {moment.__name__.replace('_', ' ')} | {times} | yes | {len(folder.attempts())} |"
        f" {', '.join(map(str, resumed_from(folder)))} |",
        flush=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_on_this_machine(
    root: Path, whole: JobSpec, moment: Callable[[JobFolder, JobSpec, int], bool], times: int
) -> None:
    compute = LocalCompute(root)
    job, folder = disturbed(compute, root, moment, times)
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(job, step) == outcome(whole, step), f"step {step}"
    told(compute, moment, times, folder)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [between_steps, while_saving, one_rank, the_launcher, asked_by_a_signal])
def test_on_slurm(slurm: Slurm, root: Path, whole: JobSpec, moment: Callable[[JobFolder, JobSpec, int], bool]) -> None:
    compute = open_compute(Settings(backend="slurm", workers=1, partition="train", memory="1500"), root)
    job, folder = disturbed(compute, root, moment, 1)
    for step in range(0, STEPS + 1, EVERY):
        assert outcome(job, step) == outcome(whole, step), f"step {step}"
    told(compute, moment, 1, folder)
