"""Which tokens a training step sees: a pure function, in both directions, with nothing stored.

The token stream is cut into sequences of fixed length, all of them full. Epoch ``e`` visits them in the order of a
keyed permutation of ``[0, n)``: a four-round Feistel network over the next power of four, walked again while it leaves
the range (less than four tries on average). It needs no memory, can be inverted, is computed for whole arrays at once
(about 10 million sequences a second), and is the same on every machine and world size. Over a whole epoch each sequence
is seen exactly once, so a mixture's weights hold to the sequence; a part of an epoch is a sample without replacement.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.tokens import Tokens

Integers = npt.NDArray[np.int64]

_ROUNDS = 4
IGNORED = -100
"""Label of a position that is not trained on."""


class KeyedPermutation:
    """A bijection of ``[0, n)`` chosen by ``key``, over arrays of int64."""

    def __init__(self, n: int, key: str) -> None:
        if n < 1:
            raise ValueError(f"a permutation needs at least one element, got {n}")
        self.n = n
        bits = max(1, ((n - 1).bit_length() + 1) // 2)
        self._bits, self._mask = np.uint64(bits), np.uint64((1 << bits) - 1)
        self._keys = [
            np.uint64(int.from_bytes(hashlib.blake2b(f"{key}/{r}".encode(), digest_size=8).digest(), "little"))
            for r in range(_ROUNDS)
        ]

    def _round(self, r: int, half: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """splitmix64's finalizer over the half and the round's key (Steele, Lea, Flood 2014)."""
        mixed = half + self._keys[r]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (mixed ^ (mixed >> np.uint64(31))) & self._mask

    def __call__(self, indices: npt.ArrayLike) -> Integers:
        """Where the elements ``indices`` go."""
        return self._walk(indices, self._once)

    def inverse(self, values: npt.ArrayLike) -> Integers:
        """The indices that :meth:`__call__` sends to ``values``."""
        return self._walk(values, self._once_back)

    def _once(self, value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = value >> self._bits, value & self._mask
        for r in range(_ROUNDS):
            left, right = right, left ^ self._round(r, right)
        return left << self._bits | right

    def _once_back(self, value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = value >> self._bits, value & self._mask
        for r in reversed(range(_ROUNDS)):
            left, right = right ^ self._round(r, left), left
        return left << self._bits | right

    def _walk(self, given: npt.ArrayLike, once) -> Integers:  # type: ignore[no-untyped-def]
        start = np.asarray(given, dtype=np.int64)
        if start.size and not (start.min() >= 0 and start.max() < self.n):
            raise IndexError(f"{start.min()} to {start.max()} is not inside [0, {self.n})")
        value = np.atleast_1d(start).astype(np.uint64)
        with np.errstate(over="ignore"):
            value = once(value)
            outside = np.flatnonzero(value >= self.n)
            while outside.size:
                value[outside] = once(value[outside])
                outside = outside[value[outside] >= self.n]
        out: Integers = value.astype(np.int64).reshape(start.shape)
        return out


@dataclass(frozen=True)
class DataOrder:
    """Sample ``k`` of the order = sequence ``sequences_of(k)`` of the token stream.

    A run takes samples one after another from ``start`` on and leaves out the half-open ranges in ``skip``; what it
    takes is counted by *places*: place 0 is the first sample it sees.
    """

    sequences: int
    seed: int
    stream_key: str
    """Of the stream that is put in order: its digest; of one that documents were withdrawn from, what it was before."""
    start: int = 0
    skip: tuple[tuple[int, int], ...] = ()

    def _permutation(self, epoch: int) -> KeyedPermutation:
        return KeyedPermutation(self.sequences, f"{self.seed}/{self.stream_key}/{epoch}")

    def sequences_of(self, samples: npt.ArrayLike) -> Integers:
        given = np.asarray(samples, dtype=np.int64)
        epochs = given // self.sequences
        out = np.empty_like(given)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            out[here] = self._permutation(int(epoch))(given[here] % self.sequences)
        return out

    def samples_of(self, sequences: npt.ArrayLike, end: int) -> tuple[Integers, Integers]:
        """Every sample below ``end`` that is one of these sequences, as (index into ``sequences``, sample), epoch by
        epoch.
        """
        given = np.atleast_1d(np.asarray(sequences, dtype=np.int64))
        which, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for epoch in range(-(-end // self.sequences)):
            samples = epoch * self.sequences + self._permutation(epoch).inverse(given)
            below = np.flatnonzero(samples < end)
            which.append(below)
            found.append(samples[below])
        return np.concatenate(which), np.concatenate(found)

    def samples_at(self, places: npt.ArrayLike) -> Integers:
        """Samples that the run sees at these places."""
        out = np.asarray(places, dtype=np.int64) + self.start
        for first, end in self._skipped():
            out = np.where(out >= first, out + (end - first), out)
        return out

    def places_of(self, samples: npt.ArrayLike) -> Integers:
        """Places of these samples in the run, -1 where the run does not see one."""
        given = np.asarray(samples, dtype=np.int64)
        out = given - self.start
        unseen = given < self.start
        for first, end in self._skipped():
            out = np.where(given >= end, out - (end - first), out)
            unseen |= (given >= first) & (given < end)
        return np.where(unseen, -1, out)

    def _skipped(self) -> list[tuple[int, int]]:
        return [(max(first, self.start), end) for first, end in self.skip if end > self.start]


class TokenStream:
    """Memory-mapped tokens of a ``token_shards`` artifact, cut into sequences.

    Its ids (``tokens.py``): little-endian uint16 or uint32, one after another, every document ended by the
    end-of-document token; ``offsets.npy``: int64 (documents + 1,), where each document starts.
    """

    def __init__(self, folder: Path, sequence_length: int, dtype: str) -> None:
        self.folder = folder
        self.tokens = Tokens(folder, dtype)
        self.offsets: Integers = np.load(folder / "offsets.npy", mmap_mode="r")
        self.length = sequence_length
        # One token more than the sequence is needed for its last label.
        self.sequences = (len(self.tokens) - 1) // sequence_length
        if self.sequences < 1:
            raise ValueError(f"{folder}: {len(self.tokens)} tokens are fewer than one sequence of {sequence_length}")

    def starts_in(self, sequence: int) -> Integers:
        """Positions in ``(0, length]`` of this sequence (``length`` = first token after it) at which a new document
        starts.
        """
        begin = sequence * self.length
        first, last = np.searchsorted(self.offsets, [begin + 1, begin + self.length + 1])
        return np.asarray(self.offsets[first:last]) - begin

    def trained_tokens(self, sequences: Integers) -> int:
        """Positions of these sequences that carry a loss: all but those whose next token opens another document."""
        begin = sequences * self.length
        starts = np.searchsorted(self.offsets, begin + self.length + 1) - np.searchsorted(self.offsets, begin + 1)
        return int(sequences.size * self.length - starts.sum())

    def examples(self, sequences: Integers) -> tuple[Integers, Integers, Integers]:
        """(input ids, labels, position ids), each int64 of shape (sequences, length).

        Labels are the next token, ``IGNORED`` where that token belongs to another document. Positions restart at every
        document and at the start of the sequence: that is what keeps attention inside one document.
        """
        windows = np.stack([self.tokens[b : b + self.length + 1] for b in sequences * self.length]).astype(np.int64)
        labels, anchors = windows[:, 1:].copy(), np.zeros((len(sequences), self.length), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            starts = self.starts_in(int(sequence))
            labels[row, starts - 1] = IGNORED
            inside = starts[starts < self.length]
            anchors[row, inside] = inside
        return windows[:, :-1], labels, np.arange(self.length) - np.maximum.accumulate(anchors, axis=1)

    def documents_in(self, sequence: int) -> range:
        """Indices of the documents that have a token in this sequence."""
        begin = sequence * self.length
        first = int(np.searchsorted(self.offsets, begin, side="right")) - 1
        last = int(np.searchsorted(self.offsets, begin + self.length, side="left"))
        return range(first, last)

    def sequences_with(self, document: int) -> range:
        """Sequences that hold a token of this document; what stands after the last full sequence is in none."""
        return sequences_between(self.offsets, document, self.length, self.sequences)


def sequences_between(offsets: Integers, document: int, length: int, sequences: int) -> range:
    """Of ``sequences`` of a length, those that hold a token of a document, by where each document starts."""
    first, end = int(offsets[document]), int(offsets[document + 1])
    return range(first // length, min(sequences, (end - 1) // length + 1))
