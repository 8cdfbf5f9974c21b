"""What tests of every backend ask of the job in ``sleeper.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from resources.compute.base import Compute


def sleeper(compute: Compute, attempts: int = 1, nodes: int = 1) -> JobSpec:
    """A piece of work that nobody has asked for yet."""
    name = f"{time.time_ns():x}"
    return JobSpec(
        work_fingerprint=name.ljust(32, "0"),
        title="test/sleeper",
        program="tests.resources.sleeper",
        **claimed("tests.resources.sleeper"),
        nodes=nodes,
        max_attempts=attempts,
        config={},
        inputs={},
        out=str(compute.root / "out" / name),
    )


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for what has to come true; long enough for a machine that does much else."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def starts(job: JobSpec) -> int:
    """How often the job was started."""
    file = Path(job.out) / "starts.txt"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def tell(job: JobSpec, what: str) -> None:
    """Have the job ``end``, ``fail``, or ``leave`` without a word."""
    (Path(job.out) / what).write_text("1")
