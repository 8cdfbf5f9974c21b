"""A token stream of which only some tokens are learnt: answers, not questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.order import IGNORED, Integers, TokenStream

LEARNT = "learnt.bin"
"""Of a stream's folder: uint8, 1 for each token that is learnt; where it is not there, all are."""


class LearntStream(TokenStream):
    """A stream with ``learnt.bin``. The first token of a document is never learnt: nothing comes before it."""

    def __init__(self, folder: Path, sequence_length: int, dtype: str) -> None:
        super().__init__(folder, sequence_length, dtype)
        self.learnt: npt.NDArray[np.uint8] = np.memmap(folder / LEARNT, dtype=np.uint8, mode="r")
        if len(self.learnt) != len(self.tokens):
            raise ValueError(f"{folder}: {LEARNT} has {len(self.learnt)} entries for {len(self.tokens)} tokens")

    def _labels_learnt(self, sequences: Integers) -> npt.NDArray[np.bool_]:
        """Whether the label of each position is learnt, (sequences, length): labels are the next tokens."""
        rows = [self.learnt[b + 1 : b + self.length + 1] for b in sequences * self.length]
        learnt: npt.NDArray[np.bool_] = np.stack(rows) == 1
        return learnt

    def trained_tokens(self, sequences: Integers) -> int:
        """Positions of these sequences that carry a loss."""
        return int(self._labels_learnt(sequences).sum()) if len(sequences) else 0

    def examples(self, sequences: Integers) -> tuple[Integers, Integers, Integers]:
        """As :meth:`TokenStream.examples`; labels that are not learnt are ``IGNORED`` too."""
        ids, labels, positions = super().examples(sequences)
        labels[~self._labels_learnt(sequences)] = IGNORED
        return ids, labels, positions
