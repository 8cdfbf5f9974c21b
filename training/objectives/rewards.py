"""Reward models: of two answers to a prompt, the better is to get the higher reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from neo_assets.core.recipe.align import RewardLoss
from training.attention import ModelInputs
from training.data.order import Integers
from training.data.pair_stream import PairStream
from training.data.stream_files import stream_facts
from training.objective import Where
from training.objectives.over_stream import STREAM, Opened, OverStream, over, refuse_other_windows
from training.objectives.pair_batch import pair_batch, rewards_at_ends
from training.preferences import reward_losses
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


@dataclass(frozen=True)
class RewardBatch:
    """A micro-batch of pairs: the model's arguments, and of each position which answer it is of, (pairs, length)."""

    inputs: ModelInputs
    answer: torch.Tensor


class Rewards(OverStream):
    """Mean loss over the pairs of a global batch. A reward is read where an answer has ended: nothing is packed beside
    a pair, and what fills a window up is no part of it.
    """

    def __init__(self, opened: Opened, settings: RewardLoss) -> None:
        super().__init__(*opened)
        self.settings = settings

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> Rewards:
        """Over the ``pair_shards`` folder that the job names. Exits where it is no such folder, or of other windows."""
        shards = Path(inputs[STREAM])
        if config.reward is None:
            raise SystemExit("the job does not say how rewards are learnt")
        refuse_other_windows(stream_facts(shards), config, shards, "pairs")
        opened = over(config, shards, where)
        if not isinstance(opened[0].stream, PairStream):
            raise SystemExit(f"{shards} holds conversations, not pairs")
        return Rewards(opened, config.reward)

    def facts(self) -> str:
        return f"{self.batches.stream.sequences:,} pairs, {self.epochs:.2f} epochs"

    def weight(self, batch: Integers) -> int:
        return int(batch.size)

    def micro(self, batch: Integers, index: int) -> RewardBatch:
        b = self.batches
        inputs, _, answer = pair_batch(cast("PairStream", b.stream), b.mine(batch, index), b.attention, b.device)
        return RewardBatch(inputs, answer)

    def loss(self, engine: DeepSpeedEngine, micro: RewardBatch) -> torch.Tensor:
        each: torch.Tensor = engine(**micro.inputs, each=True)
        return reward_losses(rewards_at_ends(each, micro.answer), self.settings).sum()
