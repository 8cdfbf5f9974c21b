"""The datatrove side of ``shards.py``: a pipeline step that runs our function on the shards of its rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from datatrove.pipeline.base import PipelineStep
from loguru import logger

logger.disable("datatrove")  # its executor tells every task of every process on stderr; the stage says how far it is

T = TypeVar("T")


class ShardStep(PipelineStep, Generic[T]):  # type: ignore[misc]  # datatrove ships no types
    type = "NeoFoundry"
    name = "shards"

    def __init__(self, work: Callable[[T], None], shards: Sequence[T]) -> None:
        super().__init__()
        self.work = work
        self.shards = list(shards)

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        for shard in self.shards[rank::world_size]:
            self.work(shard)
        yield from ()
