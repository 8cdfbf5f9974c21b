"""Pre-training: every token of a stream from those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.attention import ModelInputs
from training.data.order import Integers
from training.data.stream_files import stream_facts
from training.data.token_stream import Batches, open_batches
from training.ledger import RunLedger
from training.objective import Where
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


class NextToken:
    """Mean cross-entropy over the labelled tokens of a global batch, in nats."""

    def __init__(self, batches: Batches, digest: str, ledger: Callable[[], RunLedger]) -> None:
        self.batches, self.digest, self.ledger = batches, digest, ledger

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> NextToken:
        """Over the ``token_shards`` folder that the job names."""
        shards = Path(inputs["token_shards"])
        batches = open_batches(shards, config, where.rank, where.device, where.attention)
        return NextToken(batches, str(stream_facts(shards)["digest"]), lambda: RunLedger.of(config, shards))

    def facts(self) -> str:
        run, stream = self.batches.run, self.batches.stream
        epochs = (run.steps - self.batches.first_step) * run.global_batch / stream.sequences
        return f"{stream.sequences:,} sequences of {run.sequence_length}, {epochs:.2f} epochs"

    def samples(self, step: int) -> Integers:
        return self.batches.samples(step)

    def documents(self, step: int) -> list[dict[str, object]]:
        seen = self.ledger().saw(step, step).group_by(["doc_id", "source"], use_threads=False)
        found: list[dict[str, object]] = seen.aggregate([]).to_pylist()
        return found

    def batch(self, samples: Integers) -> Integers:
        """The sequences of a global batch, on every rank."""
        return self.batches.order.sequences_of(samples)

    def weight(self, batch: Integers) -> int:
        return self.batches.stream.trained_tokens(batch)

    def micro(self, batch: Integers, index: int) -> tuple[ModelInputs, torch.Tensor]:
        return self.batches.micro(batch, index)

    def loss(self, engine: DeepSpeedEngine, micro: tuple[ModelInputs, torch.Tensor]) -> torch.Tensor:
        inputs, labels = micro
        summed: torch.Tensor = engine(**inputs, labels=labels)
        return summed
