"""An artifact that is being made by an engine, for tests of every one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from neo_assets.core.artifact import Workspace
from neo_assets.core.errors import JobFailed
from neo_assets.core.jobs import JobFolder, JobState, job_folders
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shard_job import story
from neo_assets.core.shards import run_shards
from resources.compute.base import Compute
from resources.data import open_engine
from tests.resources.shard_work import begun, target, write
from tests.resources.sleeping import until

SHARDS = 24
ROOT = Path(__file__).parents[2]


def settings(**data: object) -> Settings:
    """Six tasks at most; every call is a job, however small."""
    return Settings.model_validate({"backend": "local", "workers": 1, "data": {"at_least_mb": 0, "tasks": 6} | data})


class Asking:
    """An artifact that is being made below a store, by an engine, in a thread."""

    def __init__(self, store: Path, data: Settings, name: str = "some") -> None:
        self.store, self.folder = store, store / name / ".partial-0123"
        for inside in ("begun", "how"):
            (self.folder / inside).mkdir(parents=True, exist_ok=True)
        self.data = data
        self.lines: list[str] = []
        self.seen: list[tuple[int, int]] = []
        observe = lambda _, told, rate: self.seen.append((len(told.done), len(told.failed)))  # noqa: E731
        self.out = Workspace(self.folder, self.lines.append, open_engine(data, store, observe))
        self.error: BaseException | None = None

    def run(self, shards: int = SHARDS) -> None:
        run_shards(
            partial(write, self.folder), range(shards), self.out, writes=partial(target, self.folder), input_bytes=1
        )

    def start(self) -> threading.Thread:
        def body() -> None:
            try:
                self.run()
            except BaseException as error:
                self.error = error

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def how(self, what: str) -> Path:
        file = self.folder / "how" / what
        file.touch()
        return file

    @property
    def made(self) -> int:
        return len(list((self.folder / "made").glob("*.txt")))

    @property
    def starts(self) -> int:
        return sum(len(begun(self.folder, n)) for n in range(SHARDS))

    @property
    def job(self) -> JobFolder:
        (job,) = job_folders(self.store)
        return job

    def elsewhere(self) -> subprocess.Popen[bytes]:
        """Another process that asks for the same."""
        script = self.store.parent / "ask.py"
        script.write_text(
            "from pathlib import Path\nfrom neo_assets.core.recipe.model import Compute\n"
            "from tests.resources.data_engines import Asking\n"
            f"Asking(Path({str(self.store)!r}), Compute.model_validate({self.data.model_dump()!r})).run()\n"
        )
        return subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def bad_shards_are_named(it: Asking) -> None:
    """One shard fails, one kills its process: all others are done once, these are tried twice and named."""
    it.how("fail-3"), it.how("die-9")
    with pytest.raises(JobFailed, match=r"2 files of 24 failed, in 2 attempts; 22 are done and kept") as failed:
        it.run()
    assert "shard 3: ValueError: there is something wrong with number 3" in str(failed.value)
    assert "shard 9: its process was gone before it ended" in str(failed.value)
    told = list(story(it.job))
    assert sum("--- attempt" in line for line in told) == 2 and any("shard 0 (0.txt) in " in line for line in told)
    assert sum("shard 3 (3.txt) failed: ValueError: there is something wrong" in line for line in told) == 2
    assert it.made == SHARDS - 2 and [len(begun(it.folder, n)) for n in (3, 9)] == [2, 2]
    assert all(len(begun(it.folder, n)) == 1 for n in range(SHARDS) if n not in (3, 9))


def cancelled_it_stays_so(it: Asking, resumed_by: Compute) -> None:
    """Until it is resumed, by a backend that may be another than its own."""
    wait = it.how("wait")
    thread = it.start()
    until(lambda: it.starts == 6)
    compute = it.out.engine.compute  # type: ignore[attr-defined]
    compute.cancel(it.job)
    thread.join(60)
    assert isinstance(it.error, JobFailed) and "cancelled" in str(it.error)
    assert compute.poll(it.job) is JobState.CANCELLED
    wait.unlink()
    resumed_by.resume(it.job)
    first, second = it.job.attempts()
    assert first.backend == second.backend
    it.run()
    assert it.made == SHARDS and it.starts <= SHARDS + 6
