"""Work over shards on a real Slurm of three nodes: nothing is done twice without need, nothing is lost, what is bad is
named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from neo_assets.core.artifact import Workspace
from neo_assets.core.errors import JobFailed
from neo_assets.core.frozen import COPIES
from neo_assets.core.jobs import job_folders
from neo_assets.core.shard_job import progress
from resources.compute import open_compute
from resources.data import open_engine
from tests.corpora import left_by_a_step, texts_of, verdicts_of
from tests.dedup.test_steps import Step, corpus, near, paragraphs
from tests.resources.data_engines import SHARDS, Asking, bad_shards_are_named, cancelled_it_stays_so, settings
from tests.resources.shard_work import begun, target
from tests.resources.sleeping import until as within
from tests.servers import Slurm

SLURM = {"engine": "slurm", "memory": "500", "partition": "train"}
until = partial(within, seconds=120)


@pytest.fixture(autouse=True)
def quick(three_nodes: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.compute.slurm.ASK_SECONDS", 0.2)
    for name, value in three_nodes.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[..., Asking]]:
    yield lambda **more: Asking(tmp_path / "store", settings(**SLURM | more))


def test_every_shard_once_on_all_nodes(asking: Callable[..., Asking]) -> None:
    it = asking()
    it.run()
    assert (it.made, it.starts) == (SHARDS, SHARDS)
    assert {node for n in range(SHARDS) for node in begun(it.folder, n)} == {"n1", "n2", "n3"}
    assert all(COPIES in Path(p.read_text()).parts for p in (it.folder / "begun").glob("*.from"))
    told = progress(it.job)
    assert (len(told.done), told.failed, told.unfinished) == (SHARDS, {}, set()) and told.cpu_seconds > 0
    assert it.job.title == "some: write" and it.job.spec().makes == ["some/0123"]
    it.run()  # all is there: nothing is asked of anybody
    assert it.starts == SHARDS and len(it.job.attempts()) == 1
    (it.folder / "made" / "7.txt").unlink()  # and what is not there any more is made again, alone
    it.run()
    assert (it.made, it.starts, len(it.job.attempts())) == (SHARDS, SHARDS + 1, 2)


def test_a_bad_shard_keeps_no_other_from_being_done_and_is_named(asking: Callable[..., Asking]) -> None:
    it = asking(attempts=2)
    bad_shards_are_named(it)
    for file in (it.folder / "how").iterdir():
        file.unlink()
    it.run()  # what was mended is tried again when it is asked for again
    assert (it.made, it.starts) == (SHARDS, SHARDS + 4)


def test_a_node_that_dies_costs_the_shards_it_was_at(three_nodes: Slurm, asking: Callable[..., Asking]) -> None:
    it = asking()
    wait = it.how("wait")
    thread = it.start()
    until(lambda: it.starts == 6)  # six tasks on three nodes
    on_it = [n for n in range(SHARDS) if "n2" in begun(it.folder, n)]
    three_nodes.kill_node("n2")
    wait.unlink()
    try:
        thread.join(240)
        assert it.error is None and it.made == SHARDS
        assert it.starts == SHARDS + len(on_it) and len(on_it) <= 2
    finally:
        three_nodes.start_node("n2")


def test_a_dead_submitter_and_a_dead_controller(three_nodes: Slurm, asking: Callable[..., Asking]) -> None:
    it = asking()
    wait = it.how("wait")
    first = it.elsewhere()
    until(lambda: it.starts == 6)
    first.kill()
    first.wait()
    thread = it.start()
    until(lambda: any("job" in line for line in it.lines))
    three_nodes.stop_controller()
    time.sleep(1)
    wait.unlink()
    until(lambda: it.made > 6)  # what runs goes on
    three_nodes.start_controller()
    thread.join(240)
    assert it.error is None and (it.made, it.starts) == (SHARDS, SHARDS)
    assert len(it.job.attempts()) == 1


def test_cancelled_it_stays_so_until_it_is_resumed(asking: Callable[..., Asking]) -> None:
    it = asking()
    cancelled_it_stays_so(it, open_compute(settings(**SLURM), it.store))  # as `neo resume` has it, by its own backend


def test_a_preempted_array_goes_on(three_nodes: Slurm, asking: Callable[..., Asking]) -> None:
    it = asking()
    wait = it.how("wait")
    thread = it.start()
    until(lambda: it.starts == 6)
    urgent = [
        "sbatch",
        "--partition=urgent",
        "--exclusive",
        "--nodes=3",
        "--mem=100",
        "--output=/dev/null",
        "--wrap=sleep 1",
    ]
    three_nodes.command(*urgent)
    until(lambda: three_nodes.command("squeue", "-h", "--partition=train", "-t", "RUNNING").strip() == "")
    wait.unlink()
    thread.join(240)
    assert it.error is None and it.made == SHARDS and len(it.job.attempts()) == 1
    assert it.starts <= SHARDS + 6


def test_a_task_whose_time_is_over_queues_again(asking: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch) -> None:
    it = asking(tasks=2, minutes_per_task=2)
    from resources.compute import slurm_tasks

    short = slurm_tasks.SCRIPT.replace("{limit}", "NEO_TASK_MINUTES=0.52")  # a start takes shards for about a second
    monkeypatch.setattr(slurm_tasks, "SCRIPT", short)
    it.how("slow")
    it.run()
    assert (it.made, it.starts) == (SHARDS, SHARDS) and len(it.job.attempts()) == 1
    logs = "".join(p.read_text() for p in it.job.path.glob("attempts/0001/log-*.txt"))
    assert "back into the queue" in logs


def test_tasks_that_would_run_other_code_refuse(asking: Callable[..., Asking]) -> None:
    it = asking(tasks=8)
    wait = it.how("wait")
    thread = it.start()
    until(lambda: it.starts == 6)  # two of eight tasks wait for a place
    (module,) = it.store.glob(f"{COPIES}/*/tests/resources/shard_work.py")
    module.write_text(module.read_text().replace("str(number))", "str(number + 1))", 1))
    wait.unlink()
    thread.join(240)
    assert isinstance(it.error, JobFailed) and "refused to run" in str(it.error)
    assert "tests.resources.shard_work has changed" in str(it.error)
    it.run()  # the copy is made again from what was asked
    assert [target(it.folder, n).read_text() for n in range(SHARDS)] == [str(n) for n in range(SHARDS)]


@pytest.mark.parametrize("step", [near, paragraphs])
def test_a_step_is_what_it_is_here(step: Step, tmp_path: Path, three_nodes: Slurm) -> None:
    store = tmp_path / "store"
    before = left_by_a_step(store, corpus(), shards=5)
    here, there = Workspace(store / "here" / ".partial-1"), Workspace(store / "there" / ".partial-1")
    there.engine = open_engine(settings(**SLURM | {"tasks": 3}), store)
    for out in (here, there):
        out.path.mkdir(parents=True)
    assert step(before, here).digest == step(before, there).digest
    assert verdicts_of(here) == verdicts_of(there) and texts_of(here) == texts_of(there)
    asked = {near: 2, paragraphs: 3}[step]  # of them the second looks through partitions
    assert sum(job.spec().tasks for job in job_folders(store)) == asked and there.cpu_seconds_elsewhere > 0


def test_it_tells_how_far_it_is(asking: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.data.cluster.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("resources.data.cluster.OBSERVE_SECONDS", 0.3)
    it = asking(attempts=1)
    it.how("fail-0"), it.how("slow")
    with pytest.raises(JobFailed):
        it.run()
    assert it.seen and all(failed <= 1 and done < SHARDS for done, failed in it.seen)
    assert any("of 24 files" in line for line in it.lines)
