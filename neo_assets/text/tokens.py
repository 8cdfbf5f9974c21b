"""Texts as the compiled loops see them: bytes of an Arrow array, token hashes, and tables of hashed
words and phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.errors import BadInput
from neo_assets.text import text_kernels as kernels
from neo_assets.text.characters import character_table


@dataclass(frozen=True)
class Buffers:
    """The UTF-8 bytes of a string array: ``data`` uint8, ``offsets`` int64 (n + 1,)."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]


def buffers(texts: pa.Array | pa.ChunkedArray) -> Buffers:
    """The bytes of a string array without copying them (a chunked array of more than one chunk is joined). Raises
    BadInput for a null.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.chunk(0) if texts.num_chunks else pa.array([], pa.string())
    if texts.null_count:
        raise BadInput(f"{texts.null_count} texts are missing")
    wide = pa.types.is_large_string(texts.type)
    _, offsets, data = texts.buffers()
    if not len(texts) or offsets is None:
        return Buffers(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    places = np.frombuffer(offsets, np.int64 if wide else np.int32)[
        texts.offset : texts.offset + len(texts) + 1
    ].astype(np.int64)
    return Buffers(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), places)


def string_array(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> pa.Array:
    """A string array over bytes that are valid UTF-8; the inverse of :func:`buffers`."""
    if offsets[-1] >= 1 << 31:
        raise BadInput(f"{offsets[-1]:,} bytes of text do not fit into one shard")
    return pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data[: offsets[-1]])
    )


def token_hashes(texts: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    """Hashes of each text's tokens, folded as everywhere."""
    held, table = buffers(pa.array(texts, pa.string())), character_table()
    tokens, starts = np.empty(len(held.data) + 2 * len(texts) + 2, np.uint64), np.empty(len(texts) + 1, np.int64)
    kernels.tokenise(held.data, held.offsets, table.flags, table.fold, tokens, starts)
    return [tokens[starts[i] : starts[i + 1]].copy() for i in range(len(texts))]


@dataclass(frozen=True)
class HashList:
    """Hashes in an open-addressing table; ``longest``: tokens in the longest entry."""

    table: npt.NDArray[np.uint64]
    bits: int
    longest: int


def hash_list(keys: npt.NDArray[np.uint64], longest: int) -> HashList:
    bits = kernels.table_bits(len(keys) + 1)
    table = np.zeros(1 << bits, np.uint64)
    kernels.hash_list(keys, table, bits)
    return HashList(table, bits, longest if len(keys) else 0)


def word_list(words: Sequence[str]) -> HashList:
    """A list of single words. Raises BadInput for an entry that is none or several."""
    hashes = token_hashes(words)
    for word, found in zip(words, hashes, strict=True):
        if len(found) != 1:
            raise BadInput(f"'{word}' in a word list is {len(found)} words; each entry must be one")
    return hash_list(np.concatenate(hashes) if hashes else np.zeros(0, np.uint64), 1)


def phrase_list(entries: Sequence[str]) -> HashList:
    """A list of words or phrases (a Chinese word is a phrase of its characters). Raises BadInput for an entry without
    any word.
    """
    hashes = token_hashes(entries)
    for entry, found in zip(entries, hashes, strict=True):
        if not len(found):
            raise BadInput(f"'{entry}' in a word list has no word in it")
    keys = np.array([kernels.phrase_hash(h) for h in hashes], np.uint64)
    return hash_list(keys, max((len(h) for h in hashes), default=0))
