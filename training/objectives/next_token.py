"""Pre-training: every token of a stream from those before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.attention import ModelInputs
from training.data.order import Integers
from training.objective import Where
from training.objectives.over_stream import STREAM, OverStream, over
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


class NextToken(OverStream):
    """Mean cross-entropy over the labelled tokens of a global batch, in nats."""

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> NextToken:
        """Over the ``token_shards`` folder that the job names."""
        return NextToken(*over(config, Path(inputs[STREAM]), where))

    def facts(self) -> str:
        stream = self.batches.stream
        return f"{stream.sequences:,} sequences of {stream.length}, {self.epochs:.2f} epochs"

    def weight(self, batch: Integers) -> int:
        return self.batches.stream.trained_tokens(batch)

    def micro(self, batch: Integers, index: int) -> tuple[ModelInputs, torch.Tensor]:
        return self.batches.micro(batch, index)

    def loss(self, engine: DeepSpeedEngine, micro: tuple[ModelInputs, torch.Tensor]) -> torch.Tensor:
        inputs, labels = micro
        summed: torch.Tensor = engine(**inputs, labels=labels)
        return summed
