"""An artifact that is being made by an engine, for tests of every one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from neo_assets.core.artifact import Workspace
from neo_assets.core.jobs import JobFolder, job_folders
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shards import run_shards
from resources.data import open_engine
from tests.resources.shard_work import begun, target, write

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
