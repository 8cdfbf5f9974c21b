"""MinHash signatures of texts, LSH bands, and clusters of near duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.recipe.data import NearDedup
from neo_assets.dedup import minhash_kernels as kernels
from neo_assets.text import text_kernels
from neo_assets.text.characters import character_table
from neo_assets.text.tokens import buffers

Signatures = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Functions:
    """``a * h + b`` modulo 2**32, ``a`` odd: uint32 (functions,) each, drawn from a seed."""

    multipliers: npt.NDArray[np.uint32]
    adders: npt.NDArray[np.uint32]

    @staticmethod
    def drawn(count: int, seed: int) -> Functions:
        generator = np.random.Generator(np.random.PCG64(seed))
        a, b = (generator.integers(0, 1 << 32, size=count, dtype=np.uint32) for _ in range(2))
        return Functions(a | np.uint32(1), b)


def signatures(texts: pa.Array | pa.ChunkedArray, settings: NearDedup) -> Signatures:
    """Signatures of all texts: uint32 (texts, bands * rows). Case, width, punctuation and white space do not count."""
    held, table = buffers(texts), character_table()
    functions = Functions.drawn(settings.bands * settings.rows, settings.seed)
    n = len(held.offsets) - 1
    out = np.empty((n, settings.bands * settings.rows), np.uint32)
    if settings.unit == "character":
        kernels.character_signatures(
            held.data,
            held.offsets,
            table.flags,
            table.fold,
            settings.shingle,
            functions.multipliers,
            functions.adders,
            out,
        )
        return out
    tokens, starts = np.empty(len(held.data) // 2 + n + 2, np.uint64), np.empty(n + 1, np.int64)
    text_kernels.tokenise(held.data, held.offsets, table.flags, table.fold, tokens, starts)
    kernels.token_signatures(tokens, starts, settings.shingle, functions.multipliers, functions.adders, out)
    return out


def shingle_sets(
    texts: pa.Array | pa.ChunkedArray, settings: NearDedup
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """(the shingles of all texts, sorted in each, one text after another; where each text's end): 4 bytes a character
    at most.
    """
    held, table = buffers(texts), character_table()
    n = len(held.offsets) - 1
    ends = np.zeros(n, np.int64)
    out = np.empty(len(held.data) + n, np.uint32)
    if settings.unit == "character":
        kernels.character_sets(held.data, held.offsets, table.flags, table.fold, settings.shingle, out, ends)
    else:
        tokens, starts = np.empty(len(held.data) // 2 + n + 2, np.uint64), np.empty(n + 1, np.int64)
        text_kernels.tokenise(held.data, held.offsets, table.flags, table.fold, tokens, starts)
        kernels.token_sets(tokens, starts, settings.shingle, out, ends)
    return out[: ends[-1] if n else 0].copy(), ends


@dataclass(frozen=True)
class Sets:
    """The shingles of all documents on disk, and where each document's end."""

    shingles: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.int64]

    @staticmethod
    def joined(target: Path, files: Sequence[tuple[Path, Path]]) -> Sets:
        """Of shards' files (shingles, ends), one after another in one file that is mapped, not read."""
        ends, total = [], 0
        with target.open("wb") as stream:
            for shingles, counts in files:
                part = np.load(shingles, mmap_mode="r")
                part.tofile(stream)
                ends.append(np.load(counts) + total)
                total += len(part)
        mapped = np.memmap(target, np.uint32, "r") if total else np.zeros(0, np.uint32)
        return Sets(mapped, np.concatenate(ends) if ends else np.zeros(0, np.int64))


MOST_COMPARED = 64
"""Documents of one band, or kept ones of one cluster, that each is compared with: what a page that a site has a million
times may cost.
"""


def similar_clusters(
    files: Sequence[Path], sizes: Sequence[int], settings: NearDedup, sets: Sets, rank: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Cluster of every document: connected components of "some band agrees, and the documents are similar". ``rank``
    orders documents by identifier, so that the result is the same however they lie in files.
    """
    parents = np.arange(sum(sizes), dtype=np.int64)
    for keys in _by_band(files, sizes, settings.bands):
        kernels.join_similar(
            keys, np.lexsort((rank, keys)), parents, sets.shingles, sets.ends, settings.min_similarity, MOST_COMPARED
        )
    kernels.roots(parents)
    return parents


def keys_of(made: Signatures, bands: int, rows: int) -> npt.NDArray[np.uint64]:
    """What two documents share when a band of them agrees: (bands, texts), so that a band lies in one piece."""
    out = np.empty((bands, len(made)), np.uint64)
    for band in range(bands):
        kernels.band_keys(made, band * rows, rows, out[band])
    return out


def _by_band(files: Sequence[Path], sizes: Sequence[int], bands: int) -> Iterator[npt.NDArray[np.uint64]]:
    """The keys of all documents, band by band, in one array that is filled anew; each byte of a file is read once."""
    keys = np.empty(sum(sizes), np.uint64)
    for band in range(bands):
        begin = 0
        for path, size in zip(files, sizes, strict=True):
            keys[begin : begin + size] = np.load(path, mmap_mode="r")[band]
            begin += size
        yield keys


def clusters(files: Sequence[Path], sizes: Sequence[int], bands: int) -> npt.NDArray[np.int64]:
    """Cluster of every document: connected components of "some band agrees". ``files``: their keys (:func:`keys_of`) as
    .npy, one after another.

    One band of all documents is in memory at a time: 24 bytes a document, and 8 for the clusters.
    """
    parents = np.arange(sum(sizes), dtype=np.int64)
    for keys in _by_band(files, sizes, bands):
        kernels.join_equal(keys, np.argsort(keys, kind="stable"), parents)
    kernels.roots(parents)
    return parents


def agreements(
    files: Sequence[Path], sizes: Sequence[int], left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Estimated Jaccard similarity of pairs of documents, by their numbers."""
    ends = np.cumsum(sizes)
    opened = [np.load(path, mmap_mode="r") for path in files]

    def rows_of(numbers: npt.NDArray[np.int64]) -> Signatures:
        out = np.empty((len(numbers), opened[0].shape[1]), np.uint32)
        shard = np.searchsorted(ends, numbers, side="right")
        for s in np.unique(shard):
            out[shard == s] = opened[s][numbers[shard == s] - (ends[s] - sizes[s])]
        return out

    out = np.empty(len(left))
    for begin in range(0, len(left), 1 << 16):
        part = slice(begin, begin + (1 << 16))
        a, b = rows_of(left[part]), rows_of(right[part])
        out[part] = (a == b).mean(axis=1)
    return out


def midpoint(bands: int, rows: int) -> float:
    """Similarity at which LSH links a pair about half of the time: (1/bands)^(1/rows)."""
    return float((1 / bands) ** (1 / rows))
