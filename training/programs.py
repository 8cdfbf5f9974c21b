"""Programs that a model wrote, put together with their tests and run in a sandbox.

Completions are cut where the next definition would begin, as the authors of HumanEval do, so that a model is not failed
for what it writes after its answer. A program passes if it runs to its end; what it prints is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from training.sandbox import Limits, Sandbox
from training.tasks import Task

COMPLETION = "{completion}"
WALL_PER_CPU = 3
"""Seconds on the clock for each processor second a program may use: it may have to wait for its turn."""


FILE_BYTES, OUTPUT_BYTES, PROCESSES = 1 << 20, 1 << 16, 64
"""Enough for any test of these sets, which write no file and print nothing."""


def run_programs(
    task: Task, items: Sequence[dict[str, object]], written: Sequence[str]
) -> tuple[list[bool], list[str]]:
    """Whether each program passed its tests, and what became of those that did not.

    Raises:
        SandboxUnavailable: this machine has no sandbox; nothing was run.
    """
    assert task.limits is not None
    sandbox = Sandbox.open(task.limits.packages)
    limits = Limits(
        cpu_s=task.limits.cpu_s,
        wall_s=task.limits.cpu_s * WALL_PER_CPU,
        memory_bytes=task.limits.memory_mb << 20,
        file_bytes=FILE_BYTES,
        processes=PROCESSES,
        output_bytes=OUTPUT_BYTES,
    )
    programs = [str(item["test"]).replace(COMPLETION, text, 1) for item, text in zip(items, written, strict=True)]
    verdicts = sandbox.run_many(programs, limits, workers=os.cpu_count() or 1)
    return [v.status == "passed" for v in verdicts], [
        "" if v.status == "passed" else f"{v.status}: {v.detail}"[:500] for v in verdicts
    ]
