"""Run one function over many shards, through a datatrove executor, and keep what is finished.

The executor is datatrove's, so that the same call runs on local processes, a Slurm array or Ray; the unit of work is
ours: a function that turns one shard into one file, which it writes in one step. A shard whose file is there is not
done again. Starting a second worker process costs about 2 s (it imports everything anew), so few or small shards stay
in this process.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SPAWN_COSTS_MORE_THAN = 8_000_000
"""Input bytes below which one process is faster than two (2 s of start-up at a few MB/s)."""


def run_shards(
    work: Callable[[T], None], shards: Sequence[T], *, workers: int, scratch: Path, input_bytes: int
) -> None:
    """Call ``work(shard)`` once for every shard, in ``workers`` processes when the input is worth it.

    ``work`` must be importable (a module-level function, or a ``functools.partial`` of one) and must write its own
    output atomically. ``scratch`` takes the executor's logs and is not part of any artifact.

    Raises:
        Whatever ``work`` raised first; shards finished until then stay finished.
    """
    if not shards:
        return
    if workers == 1 or len(shards) == 1 or input_bytes < SPAWN_COSTS_MORE_THAN:
        for shard in shards:
            work(shard)
        return
    from datatrove.executor import LocalPipelineExecutor

    from neo_assets.core.shard_step import ShardStep

    with _terminable():
        LocalPipelineExecutor(
            pipeline=[ShardStep(work, shards)],
            tasks=len(shards),
            workers=min(workers, len(shards)),
            logging_dir=str(scratch),
            skip_completed=False,
        ).run()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Workers that can be ended: they inherit what this process ignores, and the pool ends idle ones by SIGTERM.

    Dagster gives SIGTERM what SIGINT has, and a shell ignores SIGINT for what it starts with `&`: a factory run from a
    script would wait for an idle worker for ever.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def total_bytes(paths: Iterable[Path]) -> int:
    return sum(p.stat().st_size for p in paths)
