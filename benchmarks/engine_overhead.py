"""What a task of a Slurm array costs beside its work: processor seconds told by tasks against those of the work itself.

``python -m benchmarks.engine_overhead [minutes]``: two tasks of so many minutes (5), of shards that each take 20
processor seconds, on a Slurm of this machine. Told are those of a task's whole process, its start included.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.engines import PACKAGES
from neo_assets.core.artifact import Workspace
from neo_assets.core.jobs import job_folders
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shard_job import progress
from neo_assets.core.shards import run_shards
from resources.data import open_engine
from tests.resources.busy import busy, target
from tests.servers import Slurm

SHARD_SECONDS = 20.0
TASKS = 2


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    shards = max(TASKS, round(TASKS * minutes * 60 / SHARD_SECONDS))
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store"
        folder = store / "busy" / ".partial-0"
        folder.mkdir(parents=True)
        with Slurm(Path(place) / "slurm", PACKAGES, nodes=3) as server:
            os.environ |= server.env
            data = {"engine": "slurm", "at_least_mb": 0, "tasks": TASKS, "memory": "500", "partition": "train"}
            settings = Settings.model_validate({"backend": "local", "workers": 1, "data": data})
            out = Workspace(folder, engine=open_engine(settings, store))
            work = partial(busy, folder, SHARD_SECONDS)
            run_shards(work, range(shards), out, writes=partial(target, folder), input_bytes=1)
        (job,) = job_folders(store)
        told = progress(job)
        work_seconds = SHARD_SECONDS * shards
        print(
            f"  {TASKS} tasks, {shards} shards: {work_seconds:.0f} CPU s of work, {told.cpu_seconds:.1f} told by tasks:"
            f" {told.cpu_seconds / work_seconds - 1:+.2%}"
        )


if __name__ == "__main__":
    main()
