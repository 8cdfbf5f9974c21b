"""Runs of tokens that texts share: words, and each Chinese character by itself, folded as everywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.compiled import kernel
from neo_assets.text import text_kernels
from neo_assets.text.characters import character_table
from neo_assets.text.text_kernels import mix
from neo_assets.text.tokens import buffers

_SEED, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


def run_hashes(texts: pa.Array | pa.ChunkedArray, length: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(hashes of all runs of ``length`` tokens in texts, one text after another and in order; where each text's begin,
    one more than texts).
    """
    held, table = buffers(texts), character_table()
    count = len(held.offsets) - 1
    tokens, starts = np.empty(len(held.data) + 2 * count + 2, np.uint64), np.empty(count + 1, np.int64)
    text_kernels.tokenise(held.data, held.offsets, table.flags, table.fold, tokens, starts)
    sizes = np.maximum(np.diff(starts) - length + 1, 0)
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    runs = np.empty(begins[-1], np.uint64)
    _hash_runs(tokens, starts, begins, length, runs)
    return runs, begins


def longest_streaks(document: npt.NDArray[np.int64], position: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The most hits without a gap in each document that has one, in the order of the documents; hits are given by
    ``document`` and ``position``, in order. So many runs of ``length`` tokens that follow each other are one of
    ``length`` - 1 tokens more than they are many.
    """
    if not len(document):
        return np.zeros(0, np.int64)
    breaks = np.flatnonzero((np.diff(document) != 0) | (np.diff(position) != 1)) + 1
    begins = np.concatenate([[0], breaks])
    streaks = np.diff(np.concatenate([begins, [len(document)]]))
    owners, which = np.unique(document[begins], return_inverse=True)
    out = np.zeros(len(owners), np.int64)
    np.maximum.at(out, which, streaks)
    return out


@kernel
def _hash_runs(tokens, starts, begins, length, runs):  # type: ignore[no-untyped-def]
    for k in range(len(starts) - 1):
        for i in range(begins[k + 1] - begins[k]):
            h = _SEED
            for j in range(starts[k] + i, starts[k] + i + length):
                h = (h ^ tokens[j]) * _PRIME
            runs[begins[k] + i] = mix(h)
