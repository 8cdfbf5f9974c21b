"""Direct preference optimisation: of two answers to a prompt, the better is to become likelier than the reference has
it, against the worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from neo_assets.core.recipe.align import DpoLoss
from training.attention import ModelInputs
from training.data.order import Integers
from training.data.pair_stream import PairStream
from training.data.stream_files import stream_facts
from training.objective import Where
from training.objectives.over_stream import STREAM, Opened, OverStream, over, refuse_other_windows
from training.objectives.pair_batch import answer_sums, pair_batch
from training.preferences import preference_losses
from training.reference import REFERENCE, read_reference
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


@dataclass(frozen=True)
class PairBatch:
    """A micro-batch of pairs: the model's arguments; labels of the shape of its ids; of each position which answer it
    is of, (pairs, length); the reference's sums, (pairs, 2).
    """

    inputs: ModelInputs
    labels: torch.Tensor
    answer: torch.Tensor
    reference: torch.Tensor


class Pairs(OverStream):
    """Mean loss over the pairs of a global batch. ``reference``: the reference's sums, (pairs of the stream, 2)."""

    def __init__(self, opened: Opened, reference: npt.NDArray[np.float32], settings: DpoLoss) -> None:
        super().__init__(*opened)
        self.reference, self.settings = reference, settings

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> Pairs:
        """Over the ``pair_shards`` and ``reference_logprobs`` folders that the job names. Exits where they do not
        belong together, or to another window.
        """
        shards = Path(inputs[STREAM])
        facts = stream_facts(shards)
        if config.preference is None:
            raise SystemExit("the job does not say how preferences are learnt")
        refuse_other_windows(facts, config, shards, "pairs")
        if not facts.get("pairs"):
            raise SystemExit(f"{shards} holds conversations, not pairs")
        reference = read_reference(Path(inputs[REFERENCE]), str(facts["digest"]))
        return Pairs(over(config, shards, where), reference, config.preference)

    def facts(self) -> str:
        return f"{self.batches.stream.sequences:,} pairs, {self.epochs:.2f} epochs, loss {self.settings.loss}"

    def weight(self, batch: Integers) -> int:
        return int(batch.size)

    def micro(self, batch: Integers, index: int) -> PairBatch:
        b = self.batches
        mine = b.mine(batch, index)
        inputs, labels, answer = pair_batch(cast("PairStream", b.stream), mine, b.attention, b.device)
        return PairBatch(inputs, labels, answer, torch.from_numpy(self.reference[mine]).to(b.device))

    def loss(self, engine: DeepSpeedEngine, micro: PairBatch) -> torch.Tensor:
        each: torch.Tensor = engine(**micro.inputs, labels=micro.labels, each=True)
        return preference_losses(answer_sums(each, micro.labels, micro.answer), micro.reference, self.settings).sum()
