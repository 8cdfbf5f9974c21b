"""A token stream that documents were withdrawn from: everything else stands where it stood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.order import IGNORED, Integers, TokenStream
from training.data.tokens import MASKED


class MaskedStream(TokenStream):
    """A stream with ``masked.npy``. Of the documents it names nothing is left but their lengths: end-of-document
    tokens, none of which is learnt.
    """

    def __init__(self, folder: Path, sequence_length: int, dtype: str) -> None:
        super().__init__(folder, sequence_length, dtype)
        self.masked: Integers = np.load(folder / MASKED)
        if len(self.masked) and not 0 <= self.masked[0] <= self.masked[-1] < len(self.offsets) - 1:
            raise ValueError(f"{folder}: {MASKED} names documents that the stream has not")
        # The first token of a document is never learnt in any stream: nothing comes before it.
        self._begins, self._ends = self.offsets[self.masked] + 1, np.asarray(self.offsets[self.masked + 1])
        self._before = np.concatenate([[0], np.cumsum(self._ends - self._begins)])

    def is_masked(self, documents: Integers) -> npt.NDArray[np.bool_]:
        """Whether these documents of the stream were withdrawn."""
        out: npt.NDArray[np.bool_] = np.isin(documents, self.masked)
        return out

    def trained_tokens(self, sequences: Integers) -> int:
        """Positions of these sequences that carry a loss."""
        first = sequences * self.length + 1  # a label is the next token
        masked = self._masked_before(first + self.length) - self._masked_before(first)
        return super().trained_tokens(sequences) - int(masked.sum())

    def examples(self, sequences: Integers) -> tuple[Integers, Integers, Integers]:
        """As :meth:`TokenStream.examples`; labels that were withdrawn are ``IGNORED`` too."""
        ids, labels, positions = super().examples(sequences)
        for row, sequence in enumerate(sequences):
            first = int(sequence) * self.length + 1
            last = first + self.length
            for at in self._held(first, last):
                labels[row, max(self._begins[at] - first, 0) : self._ends[at] - first] = IGNORED
        return ids, labels, positions

    def _held(self, first: int, last: int) -> range:
        """Which masked stretches have tokens among these."""
        return range(int(np.searchsorted(self._ends, first, "right")), int(np.searchsorted(self._begins, last)))

    def _masked_before(self, positions: Integers) -> Integers:
        """How many masked tokens, but first ones of documents, stand before each of these positions."""
        place = np.searchsorted(self._begins, positions)
        begun: Integers = self._before[place]
        not_yet = np.maximum(np.append(self._ends, 0)[place - 1] - positions, 0)
        return begun - np.where(place > 0, not_yet, 0)
