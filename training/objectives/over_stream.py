"""What objectives over a token stream have in common: which samples a step reads, and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data.order import Integers
from training.data.stream_files import stream_facts
from training.data.token_stream import Batches, open_batches
from training.ledger import RunLedger
from training.objective import Where
from training.spec import PretrainConfig

STREAM = "token_shards"
"""Name of the input of a training job that holds its stream, of whichever kind."""


Opened = tuple[Batches, str, Callable[[], RunLedger]]


def over(config: PretrainConfig, shards: Path, where: Where) -> Opened:
    """What an objective over a stream's folder is made of."""
    batches = open_batches(shards, config, where.rank, where.device, where.attention)
    return batches, str(stream_facts(shards)["digest"]), lambda: RunLedger.of(config, shards)


class OverStream:
    """A stream in a run's order. ``digest``: of what is learnt from; ``ledger`` is opened when a step's documents are
    asked for.
    """

    def __init__(self, batches: Batches, digest: str, ledger: Callable[[], RunLedger]) -> None:
        self.batches, self.digest, self.ledger = batches, digest, ledger

    @property
    def epochs(self) -> float:
        run, stream = self.batches.run, self.batches.stream
        return (run.steps - self.batches.first_step) * run.global_batch / stream.sequences

    def samples(self, step: int) -> Integers:
        return self.batches.samples(step)

    def documents(self, step: int) -> list[dict[str, object]]:
        seen = self.ledger().saw(step, step).group_by(["doc_id", "source"], use_threads=False)
        found: list[dict[str, object]] = seen.aggregate([]).to_pylist()
        return found

    def batch(self, samples: Integers) -> Integers:
        """The sequences of a global batch, on every rank."""
        return self.batches.order.sequences_of(samples)


def refuse_other_windows(facts: dict[str, object], config: PretrainConfig, shards: Path, what: str) -> None:
    """Exits where a stream of whole windows is not of this run's: ``what`` they hold, in words."""
    if facts.get("window") != config.run.sequence_length:
        raise SystemExit(
            f"{shards} holds {what} in windows of {facts.get('window')} tokens; the run reads windows of"
            f" {config.run.sequence_length}"
        )
