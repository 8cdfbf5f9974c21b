"""The datatrove side of ``shards.py``: a pipeline step that runs our function on the shards of its rank.

A worker imports the function anew, on this machine or on another. What it would run is held to what the asking process
found when it read the code: an edit, or another checkout or environment on a node, ends the worker before its first
shard.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from datatrove.pipeline.base import PipelineStep
from loguru import logger

from neo_assets.core.frozen import Claimed, claimed, held_to
from neo_assets.core.process import cpu_seconds_since_told
from neo_assets.core.shards import modules_of

logger.disable("datatrove")  # its executor tells every task of every process on stderr; the stage says how far it is

T = TypeVar("T")


@functools.cache
def _held_to(asked: str) -> None:
    """Looked at once a process."""
    told = json.loads(asked)
    held_to(Claimed(code=told["code"], libraries=told["libraries"]))


class ShardStep(PipelineStep, Generic[T]):  # type: ignore[misc]  # datatrove ships no types
    type = "NeoFoundry"
    name = "shards"

    def __init__(self, work: Callable[[T], None], shards: Sequence[T], spent: Path) -> None:
        super().__init__()
        self.work, self.spent = work, spent
        self.shards = list(shards)
        self.asked = json.dumps(claimed(*modules_of(work)))

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        _held_to(self.asked)
        for shard in self.shards[rank::world_size]:
            self.work(shard)
            with self.spent.open("a") as stream:
                stream.write(f"{cpu_seconds_since_told():.6f}\n")
        yield from ()
