"""Direct preference optimisation: of two answers to a prompt, the better is to become likelier than the reference has
it, against the worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from neo_assets.core.recipe.align import Dpo
from training.attention import ModelInputs, model_inputs
from training.data.order import IGNORED, Integers
from training.data.pair_stream import BETTER, WORSE, PairStream
from training.data.stream_files import open_order, stream_facts
from training.data.token_stream import Batches
from training.ledger import RunLedger
from training.objective import Where
from training.preferences import Answers, preference_losses
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


def pair_batch(
    stream: PairStream, sequences: Integers, attention: str, device: torch.device
) -> tuple[ModelInputs, torch.Tensor, torch.Tensor]:
    """(the model's arguments, labels of the shape of its ids, which answer each position is of) of some pairs."""
    ids, labels, positions = stream.examples(sequences)
    answer = np.cumsum(positions == 0, axis=1) - 1
    inputs = model_inputs(attention, torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(positions)), device)
    wanted = torch.from_numpy(labels).reshape(inputs["input_ids"].shape).to(device)
    return inputs, wanted, torch.from_numpy(answer).to(device)


def answer_sums(each: torch.Tensor, labels: torch.Tensor, answer: torch.Tensor) -> Answers:
    """Sums over the two answers of each pair; ``each``: log-probabilities of the labels, of any shape with as many."""
    by_row, wanted = each.reshape(answer.shape), labels.reshape(answer.shape) != IGNORED
    masks = [(answer == which) & wanted for which in (BETTER, WORSE)]
    return Answers(
        torch.stack([(by_row * mask).sum(dim=1) for mask in masks], dim=1),
        torch.stack([mask.sum(dim=1) for mask in masks], dim=1),
    )


class Pairs:
    """Mean loss over the pairs of a global batch."""

    def __init__(
        self,
        batches: Batches,
        digest: str,
        reference: npt.NDArray[np.float32],
        settings: Dpo,
        ledger: Callable[[], RunLedger],
    ) -> None:
        self.batches, self.digest, self.reference, self.settings = batches, digest, reference, settings
        self.ledger = ledger

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> Pairs:
        """Over the ``pair_shards`` and ``reference_logprobs`` folders that the job names. Exits where they do not
        belong together, or to another window.
        """
        shards = Path(inputs["token_shards"])
        facts = stream_facts(shards)
        if config.preference is None:
            raise SystemExit("the job does not say how preferences are learnt")
        if facts.get("window") != config.run.sequence_length or not facts.get("pairs"):
            raise SystemExit(
                f"{shards} holds pairs in windows of {facts.get('window')} tokens; the run reads windows of"
                f" {config.run.sequence_length}"
            )
        reference = read_reference(Path(inputs[REFERENCE]), str(facts["digest"]))
        stream, order = open_order(shards, config)
        batches = Batches(stream, order, config.run, config.first_step, where.rank, where.device, where.attention)
        return Pairs(batches, str(facts["digest"]), reference, config.preference, lambda: RunLedger.of(config, shards))

    def facts(self) -> str:
        run, stream = self.batches.run, self.batches.stream
        epochs = (run.steps - self.batches.first_step) * run.global_batch / stream.sequences
        return f"{stream.sequences:,} pairs, {epochs:.2f} epochs, loss {self.settings.loss}"

    def samples(self, step: int) -> Integers:
        return self.batches.samples(step)

    def documents(self, step: int) -> list[dict[str, object]]:
        seen = self.ledger().saw(step, step).group_by(["doc_id", "source"], use_threads=False)
        found: list[dict[str, object]] = seen.aggregate([]).to_pylist()
        return found

    def batch(self, samples: Integers) -> Integers:
        return self.batches.order.sequences_of(samples)

    def weight(self, batch: Integers) -> int:
        return int(batch.size)

    def micro(self, batch: Integers, index: int) -> PairBatch:
        run, b = self.batches.run, self.batches
        begin = (index * run.data_parallel + b.rank) * run.micro_batch
        mine = batch[begin : begin + run.micro_batch]
        inputs, labels, answer = pair_batch(cast("PairStream", b.stream), mine, b.attention, b.device)
        return PairBatch(inputs, labels, answer, torch.from_numpy(self.reference[mine]).to(b.device))

    def loss(self, engine: DeepSpeedEngine, micro: PairBatch) -> torch.Tensor:
        each: torch.Tensor = engine(**micro.inputs, labels=micro.labels, each=True)
        return preference_losses(answer_sums(each, micro.labels, micro.answer), micro.reference, self.settings).sum()
