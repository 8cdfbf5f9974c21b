"""Which training steps read which bytes of which documents: computed from the data order of every run, for many
documents at once.

A token's bytes follow from its piece, so that the tokens of a passage are found without tokenising anything. Where the
pieces of a document are not as long as its text (a tokenizer that normalises), the steps of the whole document are
told, and that they are.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store
from neo_assets.runs.found_runs import FoundRun, begun_from, lineage, started
from neo_assets.trace.traced import Read, Spans
from training.data.learnt_stream import LEARNT
from training.data.stream_index import numbers_of
from training.ledger import RunLedger

_MARK = "▁"
_UNKNOWN = 1 << 40
"""Bytes of a piece that stands for any text: no document is so long, so that none with one is told exactly."""


@dataclass(frozen=True)
class Reader:
    """A run as it read documents: parts of it (its own, and those it is a branch of) with the last step of each."""

    name: str
    parts: Sequence[tuple[FoundRun, int]]

    @property
    def until(self) -> int:
        return self.parts[0][1]


def reader_of(store: Store, run: FoundRun, until: int | None = None) -> Reader | None:
    """None for a run that learns from conversations: the pool is not what it read."""
    parts, end = [], run.config.last_step if until is None else until
    for part in lineage(store, run):
        if (part.shards / LEARNT).is_file():
            return None
        parts.append((part, end))
        end = min(end, part.config.first_step)
    return Reader(run.name, parts)


def readers(store: Store, recipe: Recipe) -> list[Reader]:
    """Every run of the recipe that learns from the pool and was started, each to its last step."""
    return [reader for run in started(store, recipe) if (reader := reader_of(store, run)) is not None]


def readers_before(store: Store, run: FoundRun, step: int) -> list[Reader]:
    """What had read documents before a checkpoint was made: its run up to it, the run that it started from up to where
    it started, and so on. Another's model, of which nothing is known, ends the row.
    """
    found: list[Reader] = []
    at: tuple[FoundRun, int] | None = (run, step)
    while at is not None:
        if (reader := reader_of(store, *at)) is not None:
            found.append(reader)
        at = begun_from(store, at[0])
    return found


def steps_that_read(
    readers: Sequence[Reader], spans: Spans, sizes: Mapping[str, int]
) -> dict[tuple[str, int, int], list[Read]]:
    """By document and bytes of it: what every reader read of them. ``sizes``: bytes of each document's text."""
    out: dict[tuple[str, int, int], list[Read]] = {
        (doc_id, begin, end): [] for doc_id, told in spans.items() for begin, end in told
    }
    for reader in readers if spans else ():
        steps: dict[tuple[str, int, int], set[int]] = defaultdict(set)
        held: dict[str, npt.NDArray[np.int64] | None] = {}
        for part, last in reader.parts:
            ledger = part.ledger()
            numbers = numbers_of(part.shards, list(spans))
            held |= _token_ends(part, ledger, numbers, sizes)
            for row in ledger.reads(numbers, last).to_pylist() if last > ledger.first_step else ():
                for begin, end in spans[row["doc_id"]]:
                    if _overlap(held[row["doc_id"]], row["from_token"], row["to_token"], begin, end):
                        steps[row["doc_id"], begin, end].add(int(row["step"]))
        for (doc_id, begin, end), reads in out.items():
            there = doc_id in held
            exact = not there or held[doc_id] is not None
            reads.append(Read(reader.name, sorted(steps[doc_id, begin, end]), reader.until, there, exact))
    return out


def _overlap(ends: npt.NDArray[np.int64] | None, first: int, last: int, begin: int, end: int) -> bool:
    """Whether tokens ``first`` to ``last`` of a document hold any of its bytes ``begin`` to ``end``, or that cannot be
    told. ``ends``: where each token's bytes end.
    """
    if ends is None:
        return True
    if first >= len(ends):
        return False  # the token that ends the document
    return bool((ends[first - 1] if first else 0) < end and ends[min(last, len(ends)) - 1] > begin)


def _token_ends(
    run: FoundRun, ledger: RunLedger, numbers: Mapping[str, Sequence[int]], sizes: Mapping[str, int]
) -> dict[str, npt.NDArray[np.int64] | None]:
    """Of the documents in a run's text, by their numbers there: where the bytes of each token end, None where that
    cannot be told.
    """
    stream = ledger.stream
    lengths, prefix = _piece_bytes(run.tokenizer().file("tokenizer.model"))
    out: dict[str, npt.NDArray[np.int64] | None] = {}
    for doc_id, (number, *_) in numbers.items():
        begin, end = int(stream.offsets[number]), int(stream.offsets[number + 1])
        tokens = np.asarray(stream.tokens[begin : end - 1]).astype(np.int64)  # the last ends the document
        if not len(tokens) or tokens.max() >= len(lengths):
            out[doc_id] = None
            continue
        ends = np.maximum(np.cumsum(lengths[tokens]) - prefix, 0)
        out[doc_id] = ends if ends[-1] == sizes[doc_id] else None
    return out


@functools.lru_cache(8)
def _piece_bytes(model: Path) -> tuple[npt.NDArray[np.int64], int]:
    """(bytes of text that each piece stands for, bytes that the tokenizer puts before a text)."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    numbers = list(range(processor.vocab_size()))
    pieces = processor.id_to_piece(numbers)
    lengths = np.array([len(piece.replace(_MARK, " ").encode()) for piece in pieces], np.int64)
    lengths[processor.is_byte(numbers)] = 1
    lengths[processor.is_control(numbers)] = 0
    lengths[processor.unk_id()] = _UNKNOWN
    return lengths, int(processor.encode("a", out_type=str)[0].startswith(_MARK))
