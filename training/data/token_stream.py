"""A rank's share of every global batch, as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from neo_assets.core.recipe.run import Run
from training.attention import ModelInputs, model_inputs
from training.data.order import DataOrder, Integers, TokenStream
from training.data.stream_files import open_order
from training.spec import PretrainConfig


class Batches:
    """What each step reads: nothing but a function of the step, whatever the number of ranks."""

    def __init__(
        self,
        stream: TokenStream,
        order: DataOrder,
        run: Run,
        first_step: int,
        rank: int,
        device: torch.device,
        attention: str,
    ) -> None:
        self.stream, self.order, self.run, self.first_step = stream, order, run, first_step
        self.rank, self.device, self.attention = rank, device, attention

    def samples(self, step: int) -> Integers:
        """Samples of the data order that the whole global batch of a step is made of, in its order."""
        first = (step - self.first_step) * self.run.global_batch
        return self.order.samples_at(np.arange(first, first + self.run.global_batch))

    def sequences(self, step: int) -> Integers:
        return self.order.sequences_of(self.samples(step))

    def mine(self, sequences: Integers, index: int) -> Integers:
        """Those of this rank's micro-batch ``index``, of the sequences of a step."""
        begin = (index * self.run.data_parallel + self.rank) * self.run.micro_batch
        return sequences[begin : begin + self.run.micro_batch]

    def micro(self, sequences: Integers, index: int) -> tuple[ModelInputs, torch.Tensor]:
        """(model's arguments, labels of the same shape as its ids) of this rank's micro-batch ``index`` of a step with
        these sequences.
        """
        ids, labels, positions = self.stream.examples(self.mine(sequences, index))
        if self.run.across_documents:
            positions = np.broadcast_to(np.arange(self.stream.length), positions.shape)
        inputs = model_inputs(
            self.attention, torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(positions)), self.device
        )
        return inputs, torch.from_numpy(labels).reshape(inputs["input_ids"].shape).to(self.device, non_blocking=True)


def open_batches(shards: Path, config: PretrainConfig, rank: int, device: torch.device, attention: str) -> Batches:
    """The batches of a run over a ``token_shards`` folder."""
    return Batches(*open_order(shards, config), config.run, config.first_step, rank, device, attention)
