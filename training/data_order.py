"""Which tokens a training step sees: a pure function, in both directions, with nothing stored.

The token stream is cut into sequences of fixed length. Epoch ``e`` visits them in the order of a keyed permutation of
``[0, n)``: a four-round Feistel network over the next power of four, walked again while it leaves the range (less than four
tries on average). It needs no memory, can be inverted, and is the same on every machine and world size. The price over a
shuffled index on disk is a few microseconds a sequence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_ROUNDS = 4
IGNORED = -100
"""Label of a position that is not trained on."""


class KeyedPermutation:
    """A bijection of ``[0, n)`` chosen by ``key``."""

    def __init__(self, n: int, key: str) -> None:
        if n < 1:
            raise ValueError(f"a permutation needs at least one element, got {n}")
        self.n = n
        self.half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
        self._mask = (1 << self.half_bits) - 1
        self._keys = [hashlib.blake2b(f"{key}/{r}".encode(), digest_size=8).digest() for r in range(_ROUNDS)]

    def _round(self, r: int, half: int) -> int:
        return int.from_bytes(hashlib.blake2b(half.to_bytes(8, "little"), key=self._keys[r], digest_size=8).digest(), "little") & self._mask

    def __call__(self, index: int) -> int:
        """Where element ``index`` goes."""
        value = self._checked(index)
        while True:
            left, right = value >> self.half_bits, value & self._mask
            for r in range(_ROUNDS):
                left, right = right, left ^ self._round(r, right)
            value = left << self.half_bits | right
            if value < self.n:
                return value

    def inverse(self, value: int) -> int:
        """The index that :meth:`__call__` sends to ``value``."""
        index = self._checked(value)
        while True:
            left, right = index >> self.half_bits, index & self._mask
            for r in reversed(range(_ROUNDS)):
                left, right = right ^ self._round(r, left), left
            index = left << self.half_bits | right
            if index < self.n:
                return index

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise IndexError(f"{index} is outside [0, {self.n})")
        return index


@dataclass(frozen=True)
class DataOrder:
    """Sample ``k`` of a run = sequence ``sequence_of(k)`` of its token stream."""

    sequences: int
    seed: int
    stream_digest: str

    def _permutation(self, epoch: int) -> KeyedPermutation:
        return KeyedPermutation(self.sequences, f"{self.seed}/{self.stream_digest}/{epoch}")

    def sequence_of(self, sample: int) -> int:
        return self._permutation(sample // self.sequences)(sample % self.sequences)

    def samples_of(self, sequence: int, total_samples: int) -> list[int]:
        """Every sample below ``total_samples`` that is this sequence, one an epoch."""
        epochs = range(-(-total_samples // self.sequences))
        found = (e * self.sequences + self._permutation(e).inverse(sequence) for e in epochs)
        return [sample for sample in found if sample < total_samples]


class TokenStream:
    """Memory-mapped tokens of a ``token_shards`` artifact, cut into sequences.

    ``tokens.bin``: little-endian uint16 or uint32, one after another, every document ended by the end-of-document token;
    ``offsets.npy``: int64 (documents + 1,), where each document starts.
    """

    def __init__(self, folder: Path, sequence_length: int, dtype: str) -> None:
        self.tokens: npt.NDArray[np.unsignedinteger] = np.memmap(folder / "tokens.bin", dtype=np.dtype(dtype), mode="r")
        self.offsets: npt.NDArray[np.int64] = np.load(folder / "offsets.npy", mmap_mode="r")
        self.length = sequence_length
        # One token more than the sequence is needed for its last label.
        self.sequences = (len(self.tokens) - 1) // sequence_length
        if self.sequences < 1:
            raise ValueError(f"{folder}: {len(self.tokens)} tokens are fewer than one sequence of {sequence_length}")

    def starts_in(self, sequence: int) -> npt.NDArray[np.int64]:
        """Positions in ``(0, length]`` of this sequence (``length`` = first token after it) at which a new document starts."""
        begin = sequence * self.length
        first, last = np.searchsorted(self.offsets, [begin + 1, begin + self.length + 1])
        return np.asarray(self.offsets[first:last]) - begin

    def trained_tokens(self, sequence: int) -> int:
        """Positions of this sequence that carry a loss: all but those whose next token opens another document."""
        return self.length - len(self.starts_in(sequence))

    def example(self, sequence: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(input ids, labels, position ids), each int64 of shape (length,).

        Labels are the next token, ``IGNORED`` where that token belongs to another document. Positions restart at every document
        and at the start of the sequence: that is what keeps attention inside one document.
        """
        begin = sequence * self.length
        window = np.asarray(self.tokens[begin : begin + self.length + 1], dtype=np.int64)
        labels = window[1:].copy()
        starts = self.starts_in(sequence)
        labels[starts - 1] = IGNORED
        anchors = np.zeros(self.length, dtype=np.int64)
        inside = starts[starts < self.length]
        anchors[inside] = inside
        positions = np.arange(self.length) - np.maximum.accumulate(anchors)
        return window[:-1], labels, positions

    def documents_in(self, sequence: int) -> range:
        """Indices of the documents that have a token in this sequence."""
        begin = sequence * self.length
        first = int(np.searchsorted(self.offsets, begin, side="right")) - 1
        last = int(np.searchsorted(self.offsets, begin + self.length, side="left"))
        return range(first, last)
