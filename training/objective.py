"""What a training job learns: the loop knows no more of an objective than this.

An objective is one file in ``training/objectives``; the loop imports none of them, so that an edit to one makes no run
of another stale. Everything an objective reads is a function of the step alone: what is not, belongs into the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import torch

from training.data.order import Integers
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

B = TypeVar("B")
M = TypeVar("M")


@dataclass(frozen=True)
class Where:
    """Where a rank runs: its number, its device, and the kernels of attention there."""

    rank: int
    device: torch.device
    attention: str


class Objective(Protocol, Generic[B, M]):
    """``B``: what a global batch is made of, alike on every rank. ``M``: a rank's micro-batch of it, as tensors."""

    digest: str
    """Of the data: part of every checkpoint's certificate."""

    def facts(self) -> str:
        """How much there is to learn from, in words."""
        ...

    def samples(self, step: int) -> Integers:
        """Samples of the data order that the global batch of a step is made of, in its order."""
        ...

    def documents(self, step: int) -> list[dict[str, object]]:
        """What a finished step, counted from 1, was made of: ``doc_id`` and ``source`` of each document, once."""
        ...

    def batch(self, samples: Integers) -> B: ...

    def weight(self, batch: B) -> int:
        """What the summed loss of a global batch is divided by, on every rank: its labelled tokens, or pairs."""
        ...

    def micro(self, batch: B, index: int) -> M:
        """This rank's micro-batch ``index`` of the batch."""
        ...

    def loss(self, engine: DeepSpeedEngine, micro: M) -> torch.Tensor:
        """Summed over the micro-batch: a scalar in fp32 with a graph."""
        ...


Opener = Callable[[PretrainConfig, Mapping[str, str], Where], Objective[B, M]]
"""Opens an objective over a job's inputs (folders by name)."""
