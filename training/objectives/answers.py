"""Supervised fine-tuning: the answers of conversations, each token from those before it in its conversation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.data.stream_files import stream_facts
from training.objective import Where
from training.objectives.next_token import NextToken
from training.objectives.over_stream import STREAM, over, refuse_other_windows
from training.spec import PretrainConfig


class Answers(NextToken):
    """Mean cross-entropy over the tokens of answers, and of the text that is replayed, in a global batch: each token
    counts once, however batches are split.
    """

    @staticmethod
    def open(config: PretrainConfig, inputs: Mapping[str, str], where: Where) -> Answers:
        """Over the ``conversation_shards`` folder that the job names. Exits where it is packed for another window."""
        shards = Path(inputs[STREAM])
        refuse_other_windows(stream_facts(shards), config, shards, "conversations")
        return Answers(*over(config, shards, where))
