"""Supervised fine-tuning: the answers of conversations, each token from those before it in its conversation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.data.learnt_stream import LEARNT
from training.data.stream_files import stream_facts
from training.data.token_stream import open_batches
from training.ledger import RunLedger
from training.objective import Where
from training.objectives.next_token import NextToken
from training.spec import PretrainConfig


class Answers(NextToken):
    """Mean cross-entropy over the tokens of answers, and of the text that is replayed, in a global batch: each token
    counts once, however batches are split.
    """

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> Answers:
        """Over the ``conversation_shards`` folder that the job names. Exits where it is packed for another window."""
        shards = Path(inputs["token_shards"])
        facts = stream_facts(shards)
        if facts.get("window") != config.run.sequence_length or not (shards / LEARNT).is_file():
            raise SystemExit(
                f"{shards} holds conversations in windows of {facts.get('window')} tokens; the run reads windows of"
                f" {config.run.sequence_length}"
            )
        batches = open_batches(shards, config, where.rank, where.device, where.attention)
        return Answers(batches, str(facts["digest"]), lambda: RunLedger.of(config, shards))
