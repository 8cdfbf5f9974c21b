"""MinHash signatures and LSH bands in numpy.

A shingle is hashed to 64 bits (xxh3), each of the ``bands * rows`` functions is a multiply-shift on it, and a signature is the
minimum over all shingles, its upper half kept. Exact for sets; about 5 k documents/s a core at 117 functions, most of it in cutting shingles.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

_ASCII_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")

Signature = npt.NDArray[np.uint32]


def normalise(text: str) -> str:
    """NFC, lower case, ASCII punctuation out, runs of white space to one space: as the released code does before shingling."""
    return _SPACE.sub(" ", _ASCII_PUNCTUATION.sub("", unicodedata.normalize("NFC", text).lower())).strip()


def shingles(text: str, unit: str, length: int) -> set[str]:
    """Distinct shingles of ``length`` characters or words; a shorter text is one shingle."""
    if unit == "word":
        words = _WORD.findall(text)
        return {" ".join(words[i : i + length]) for i in range(max(1, len(words) - length + 1))}
    return {text[i : i + length] for i in range(max(1, len(text) - length + 1))}


class MinHash:
    """``functions`` multiply-shift hash functions drawn from ``seed``."""

    def __init__(self, functions: int, seed: int) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        self._multipliers = generator.integers(0, 1 << 64, size=functions, dtype=np.uint64, endpoint=False) | np.uint64(1)
        self._offsets = generator.integers(0, 1 << 64, size=functions, dtype=np.uint64, endpoint=False)

    def signature(self, items: Iterable[str]) -> Signature:
        """uint32 array of shape (functions,). Raises ValueError for no items."""
        hashes = np.fromiter((xxhash.xxh3_64_intdigest(item.encode("utf-8", "surrogatepass")) for item in items), dtype=np.uint64)
        if not len(hashes):
            raise ValueError("a signature needs at least one shingle")
        best = np.empty(len(self._multipliers), dtype=np.uint32)
        with np.errstate(over="ignore"):
            # One function at a time: its 8 bytes a shingle stay in the core's cache, a (shingles, functions) table would not.
            for i, (multiplier, offset) in enumerate(zip(self._multipliers, self._offsets, strict=True)):
                best[i] = (hashes * multiplier + offset).min() >> np.uint64(32)
        return best


def similarity(a: Signature, b: Signature) -> float:
    """Estimate of the Jaccard similarity of the two shingle sets."""
    return float(np.mean(a == b))


def clusters(signatures: Sequence[Signature], bands: int, rows: int) -> npt.NDArray[np.int64]:
    """Cluster number of every document: connected components of "some band agrees". Shape (documents,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not signatures:
        return np.zeros(0, dtype=np.int64)
    matrix = np.stack(signatures)
    left: list[int] = []
    right: list[int] = []
    for band in range(bands):
        first: dict[bytes, int] = {}
        part = np.ascontiguousarray(matrix[:, band * rows : (band + 1) * rows])
        for document in range(len(matrix)):
            other = first.setdefault(part[document].tobytes(), document)
            if other != document:
                left.append(other)
                right.append(document)
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(matrix), len(matrix)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def midpoint(bands: int, rows: int) -> float:
    """Similarity at which LSH links a pair about half of the time: (1/bands)^(1/rows)."""
    return float((1 / bands) ** (1 / rows))
