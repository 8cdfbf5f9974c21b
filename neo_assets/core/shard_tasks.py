"""One task of a call over shards, where a cluster runs it: what ``shard_job.py`` has laid down, through datatrove's
executor.
"""

from __future__ import annotations

import json
import os
import pickle
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from neo_assets.core import records
from neo_assets.core.jobs import STOPPED, JobFolder, RunningJob
from neo_assets.core.process import cpu_seconds_since_told
from neo_assets.core.shard_job import CALL, CPUS, MINUTES, TASK, attempt_folder, progress

logger.disable("datatrove")  # what a rank does, it tells in its own words
LEAST_SPARE_SECONDS = 30.0
"""A rank takes no shard when less is left of its task's time, or less than its longest shard took."""


class Shards(PipelineStep):  # type: ignore[misc]  # datatrove ships no types
    """What one rank does: its shards one after another, whatever becomes of each."""

    type = "NeoFoundry"
    name = "shards"

    def __init__(self, job: Path, attempt: int, until: float) -> None:
        super().__init__()
        self.job, self.attempt, self.until = job, attempt, until

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        folder = JobFolder(self.job)
        place, longest = attempt_folder(folder, self.attempt), 0.0
        work, shards = pickle.loads((self.job / CALL).read_bytes())
        targets = folder.targets()
        with _Teller(place / "told" / f"{rank:05d}.jsonl") as tell:
            for number in json.loads((place / "ranks.json").read_text(encoding="utf-8"))[rank]:
                if targets[number].is_file():
                    continue
                if time.time() + max(longest, LEAST_SPARE_SECONDS) > self.until or folder.asked_to_stop():
                    return
                tell("begin", number)
                begin = time.monotonic()
                what = "done"
                try:
                    work(shards[number])
                except Exception:
                    what = "failed"
                    records.write_text(place / "failed" / f"{number:05d}.txt", traceback.format_exc())
                longest = max(longest, time.monotonic() - begin)
                tell(what, number, seconds=time.monotonic() - begin, cpu=cpu_seconds_since_told())
        yield from ()


class _Teller:
    """Appends lines to a file of its own."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("ab")
        if self._stream.tell():
            self._stream.write(b"\n")  # ends a line that a killed start may have left torn

    def __call__(self, what: str, shard: int, **more: float) -> None:
        self._stream.write(json.dumps({"what": what, "shard": shard, "at": time.time(), **more}).encode() + b"\n")
        self._stream.flush()

    def __enter__(self) -> _Teller:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def main(job: RunningJob) -> int:
    """One task: its ranks, through datatrove's executor. :data:`STOPPED` where something is left for another start."""
    attempt, cpus = int(os.environ["NEO_JOB_ATTEMPT"]), int(os.environ[CPUS])
    first = int(os.environ[TASK]) * cpus
    place = attempt_folder(job.folder, attempt)
    shares = json.loads((place / "ranks.json").read_text(encoding="utf-8"))
    ranks = range(first, min(first + cpus, len(shares)))
    limit = os.environ.get(MINUTES)
    until = time.time() + 60 * float(limit) if limit else float("inf")
    LocalPipelineExecutor(
        pipeline=[Shards(job.folder.path, attempt, until)],
        tasks=len(shares),
        local_tasks=len(ranks),
        local_rank_offset=first,
        workers=len(ranks),
        logging_dir=str(place / "executor"),
        skip_completed=False,
    ).run()
    targets, tried = job.folder.targets(), set(progress(job.folder).failed)
    left = [n for rank in ranks for n in shares[rank] if n not in tried and not targets[n].is_file()]
    return STOPPED if left else 0
