"""Saving without waiting for the disk: a snapshot in memory, written by a thread.

DeepSpeed decides what is saved and where; :class:`Snapshots` takes the place of the engine that would write it. It
copies every tensor to the CPU (training goes on with the originals), and a thread writes, syncs and digests the copies.
That costs the memory of one copy of the state a rank; training stands still for the copying alone.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.store import FileEntry
from training.certificate import state_digest
from training.states import read_state

if TYPE_CHECKING:
    from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo

RANKS = ".ranks"
"""Folder of a checkpoint in the making: what each rank has written, put there when it has."""

PEERS_SECONDS = 3600.0
"""How long rank 0 waits for the others' files."""


class Written(BaseModel):
    """What one rank has written of a checkpoint."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, FileEntry]
    states: dict[str, str]


class Snapshots(CheckpointEngine):  # type: ignore[misc]
    """Collects the files of one checkpoint as (path, copied state), to be written later."""

    def __init__(self) -> None:
        self.collected: list[tuple[Path, object]] = []

    def create(self, info: CheckpointCommitInfo) -> None: ...

    def commit(self, info: CheckpointCommitInfo) -> bool:
        return True

    def save(self, state_dict: object, path: str) -> None:
        self.collected.append((Path(path), copied(state_dict)))

    def load(self, path: str, map_location: object = None) -> Any:
        return read_state(Path(path), map_location, deepspeed=True)

    def take(self) -> list[tuple[Path, object]]:
        taken, self.collected = self.collected, []
        return taken


def copied(value: object) -> object:
    """A copy that training cannot change any more, its tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if type(value) in (dict, OrderedDict):
        return type(value)((k, copied(v)) for k, v in value.items())  # type: ignore[attr-defined,call-arg]
    if type(value) in (list, tuple):
        return type(value)(copied(v) for v in value)  # type: ignore[call-arg,attr-defined]
    return copy.deepcopy(value)


class Writing:
    """One checkpoint being written by this rank's thread; rank 0's also gathers the others' and commits."""

    def __init__(
        self,
        partial: Path,
        rank: int,
        world: int,
        files: list[tuple[Path, object]],
        commit: Callable[[Path, dict[str, FileEntry], dict[str, str]], None],
    ) -> None:
        self.partial, self.rank, self.world, self.files, self.commit = partial, rank, world, files, commit
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"checkpoint-{partial.name}", daemon=True)
        self._thread.start()

    def busy(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        """Until it is written (and, on rank 0, committed). Raises what went wrong."""
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raises SystemExit with the reason, where writing has failed."""
        if self.failure is not None:
            what = (
                self.failure.strerror or str(self.failure)
                if isinstance(self.failure, OSError)
                else f"{type(self.failure).__name__}: {self.failure}"
            )
            raise SystemExit(
                f"checkpoint {self.partial.name.removeprefix('.partial-')} could not be written: {what}. Those before"
                " it are whole."
            ) from self.failure

    def _run(self) -> None:
        try:
            written = Written(files={}, states={})
            for path, state in self.files:
                name = path.relative_to(self.partial).as_posix()
                with path.open("wb") as stream:  # of ours rather than torch's, whose errors name no reason
                    torch.save(state, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                written.states[name] = state_digest(state)
                written.files[name] = FileEntry(size=path.stat().st_size, digest=digest_file(path))
            self.files = []
            if self.rank:
                records.write_text(self.partial / RANKS / f"{self.rank}.json", written.model_dump_json())
            else:
                self._gather(written)
                self.commit(self.partial, written.files, written.states)
        except BaseException as error:
            self.failure = error

    def _gather(self, own: Written) -> None:
        deadline = time.monotonic() + PEERS_SECONDS
        for rank in range(1, self.world):
            file = self.partial / RANKS / f"{rank}.json"
            while not file.is_file():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"rank {rank} has not written its part in {PEERS_SECONDS:.0f} s")
                time.sleep(0.02)
            other = Written.model_validate_json(file.read_text(encoding="utf-8"))
            own.files |= other.files
            own.states |= other.states
