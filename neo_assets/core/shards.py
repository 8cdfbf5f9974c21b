"""Run one function over many shards, and keep what is finished.

The unit of work is ours: a function that turns one shard into one file, which it writes in one step. A shard whose file
is there is not done again: which files exist is the only truth about what is done, on every engine. An engine is where
the work is done. The one here takes processes of this machine; ``resources/data`` has those of a cluster. On all of
them the tasks are run by datatrove's executor (``shard_step.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from neo_assets.core.code import module_file
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.here import size_of
from neo_assets.core.written import SCRATCH

if TYPE_CHECKING:
    from neo_assets.core.artifact import Workspace

T = TypeVar("T")

SPAWN_COSTS_MORE_THAN = 8_000_000
"""Input bytes below which one process is faster than two (2 s of start-up at a few MB/s)."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One function over many shards. ``targets`` are the files that the shards' work writes last, in their order."""

    work: Callable[[T], None]
    shards: Sequence[T]
    targets: Sequence[Path]
    out: Workspace
    input_bytes: int

    @property
    def name(self) -> str:
        """What the function is called, for people."""
        function = self.work
        while hasattr(function, "func"):
            function = function.func
        return str(getattr(function, "__name__", type(function).__name__)).strip("_").replace("_", " ")

    def left(self) -> list[int]:
        """Numbers of the shards whose file is not there."""
        return missing(self.targets)


class Engine(Protocol):
    """Where shards are worked on. Part of no fingerprint."""

    def run(self, call: Call[Any]) -> None:
        """Have every target of the call be there. Raises what the work raised, or NeoError naming shards that failed
        again and again; what was finished stays.
        """


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine."""

    workers: int = 1
    at_least_bytes: int = SPAWN_COSTS_MORE_THAN

    def run(self, call: Call[Any]) -> None:
        left = call.left()
        if self.workers == 1 or len(left) <= 1 or call.input_bytes < self.at_least_bytes:
            for number in left:
                call.work(call.shards[number])
            return
        from datatrove.executor import LocalPipelineExecutor

        from neo_assets.core.shard_step import ShardStep

        spent = call.out.path / SCRATCH / "spent.txt"
        spent.parent.mkdir(parents=True, exist_ok=True)
        spent.write_text("")
        _server_of_this_environment()
        with _terminable():
            LocalPipelineExecutor(
                pipeline=[ShardStep(call.work, [call.shards[number] for number in left], spent)],
                tasks=len(left),
                workers=min(self.workers, len(left)),
                logging_dir=str(call.out.path / SCRATCH / "executor"),
                skip_completed=False,
            ).run()
        call.out.cpu_seconds_elsewhere += sum(map(float, spent.read_text().split()))  # no children of this process


HERE = LocalEngine()


def run_shards(
    work: Callable[[T], None],
    shards: Sequence[T],
    out: Workspace,
    *,
    writes: Callable[[T], Path],
    input_bytes: int,
) -> None:
    """Have ``work(shard)`` done for every shard whose file is not there yet, by the engine of the workspace.

    ``work`` must be importable (a module-level function, or a ``functools.partial`` of one), and what it holds must fit
    into a message: what is large, it reads from a file. ``writes(shard)`` is the file that it writes last, atomically;
    no two shards share one. ``input_bytes`` is about what all shards read.

    Raises:
        Whatever ``work`` raised first, or NeoError; shards finished until then stay finished.
    """
    out.engine.run(Call(work, shards, [writes(shard) for shard in shards], out, input_bytes))


def modules_of(work: object) -> set[str]:
    """Modules of ours that a function, or a ``partial`` with all it holds, is made of."""
    if isinstance(work, partial):
        return set().union(*(modules_of(part) for part in (work.func, *work.args, *work.keywords.values())))
    name = getattr(work if callable(work) else type(work), "__module__", "")
    return {name} if module_file(name, ROOT) else set()


def missing(targets: Sequence[Path]) -> list[int]:
    """Numbers of the files that are not there; each folder is listed once."""
    there: dict[Path, set[str]] = {}
    for folder in {target.parent for target in targets}:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            there[folder] = {entry.name for entry in entries}
    return [i for i, target in enumerate(targets) if target.name not in there.get(target.parent, ())]


_server_knows: dict[str, str] = {}
"""The environment in which the server that forks workers was started."""


def _server_of_this_environment() -> None:
    """Workers get the environment of the process that forks them, which was started with this process's first call:
    where the environment is another by now (a store's address, credentials), it is ended, and the next call starts it
    anew.
    """
    from multiprocess import forkserver  # type: ignore[import-untyped]

    if _server_knows != os.environ:
        forkserver._forkserver._stop()
        _server_knows.clear()
        _server_knows.update(os.environ)


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
    return sum(size_of(p) for p in paths)
