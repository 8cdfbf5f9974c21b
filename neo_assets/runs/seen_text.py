"""What training steps read, as text: sequences of a run's stream as they stand there, and which of it was learnt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neo_assets.runs.found_runs import FoundRun
from neo_assets.tokenizer.train import hf_folder
from training.data.learnt_stream import LEARNT
from training.data.pair_stream import PairStream

OPENS, CLOSES = "⟦", "⟧"
"""Around what is learnt, where not all of a sequence is."""
SIDES = ("better: ", "worse: ")
_REPEATED = re.compile(r"(<\|?\w+\|?>)\1{2,}")
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Seen:
    """A sequence that a step read: its pieces of text in order, each with whether it was learnt. ``pair``: the first
    that is learnt is the better answer, the second the worse.
    """

    step: int
    place: int
    sequence: int
    pieces: list[tuple[str, bool]]
    pair: bool = False

    @property
    def marked(self) -> str:
        """In one text, with what is learnt between marks; without any where all is. A token that fills the sequence up
        is told once, with its number.
        """
        if all(learnt for _, learnt in self.pieces):
            return self._short("".join(text for text, _ in self.pieces))
        names = iter(SIDES if self.pair else ())
        told = [f"{OPENS}{next(names, '')}{text}{CLOSES}" if learnt else text for text, learnt in self.pieces]
        return self._short("".join(told))

    @staticmethod
    def _short(text: str) -> str:
        return _REPEATED.sub(lambda found: f"{found[1]} ×{len(found[0]) // len(found[1])}", text)


def seen_text(run: FoundRun, first: int, last: int) -> Iterator[Seen]:
    """Sequences of the updates to steps ``first`` to ``last`` of one part of a run, in order. Raises MissingUpstream
    where its tokenizer is not in the store any more.
    """
    decode, ledger = _decoder(run), run.ledger()
    length, batch = ledger.stream.length, run.config.run.global_batch
    mask = run.shards / LEARNT
    learnt = np.memmap(mask, np.uint8, "r") if mask.is_file() else None
    sequences = ledger.order.sequences_of(ledger.samples(first, last))
    for number, sequence in enumerate(sequences.tolist()):
        begin = sequence * length
        ids = np.asarray(ledger.stream.tokens[begin : begin + length]).tolist()
        marks = learnt[begin : begin + length].tolist() if learnt is not None else [1] * len(ids)
        pieces = [
            (decode([token for token, _ in part]), bool(is_learnt))
            for is_learnt, part in itertools.groupby(zip(ids, marks, strict=True), key=lambda pair: pair[1])
        ]
        yield Seen(first + number // batch, number % batch, sequence, pieces, isinstance(ledger.stream, PairStream))


def _decoder(run: FoundRun) -> Decode:
    """Of the tokenizer that the run's stream was made with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(hf_folder(run.tokenizer()), local_files_only=True)
    return lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
