"""A token stream whose windows are pairs of answers: two documents, the better first, then what fills the window up."""

from __future__ import annotations

from training.data.learnt_stream import LearntStream
from training.data.order import Integers

BETTER, WORSE = 0, 1


class PairStream(LearntStream):
    """What a loss is a mean over here are pairs, not tokens."""

    def trained_tokens(self, sequences: Integers) -> int:
        return int(sequences.size)
