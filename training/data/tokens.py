"""The token ids of a stream: one file, or several that follow each other and are read as one.

A corpus is tokenised by many workers, each into files of its own, so that no file grows with the corpus.
``stream.json`` names them in their order; a stream without such a list is ``tokens.bin`` alone.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ONE_FILE = "tokens.bin"
FACTS = "stream.json"
SEGMENTS = "segments"
"""Entry of ``stream.json``: a list of :class:`Segment` as [name, tokens, documents]."""
MASKED = "masked.npy"
"""Of a stream's folder: int64, numbers of its documents that were withdrawn, ascending. Their tokens are
end-of-document tokens, none of which is learnt. Where it is not there, none is.
"""
ORDER_KEY = "order_key"
"""Entry of ``stream.json`` of such a stream: the key of its order, its digest if nothing had been withdrawn."""
MAPPED_AT_ONCE = 4096
"""Files that are mapped together: a process may map 65,530."""


@dataclass(frozen=True)
class Segment:
    """A file of tokens: its name below ``tokens/`` (its documents are in ``index/``), how many tokens and documents."""

    name: str
    tokens: int
    documents: int

    @property
    def tokens_file(self) -> str:
        return f"tokens/{self.name}.bin"

    @property
    def index_file(self) -> str:
        return f"index/{self.name}.parquet"


def segments_of(folder: Path) -> list[Segment] | None:
    """The files of a stream in their order; None where there is one, ``tokens.bin``."""
    file = folder / FACTS
    told = json.loads(file.read_text(encoding="utf-8")).get(SEGMENTS) if file.is_file() else None
    return None if told is None else [Segment(*row) for row in told]


class Tokens:
    """Ids by their positions in the stream: ``tokens[begin:end]`` is an array, whatever files it lies in."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        segments = segments_of(folder)
        if segments is None:
            files = [folder / ONE_FILE]
            sizes = [files[0].stat().st_size // self.dtype.itemsize]
        else:
            files, sizes = [folder / s.tokens_file for s in segments], [s.tokens for s in segments]
        self._files, self._ends = files, np.cumsum(sizes, dtype=np.int64)
        self._map = functools.lru_cache(MAPPED_AT_ONCE)(self._mapped)
        for file, size in zip(files, sizes, strict=True):
            if (there := file.stat().st_size) != size * self.dtype.itemsize:
                raise ValueError(f"{file} has {there:,} bytes, {size * self.dtype.itemsize:,} are told of it")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, span: slice) -> npt.NDArray[np.unsignedinteger]:
        begin, end, step = span.indices(len(self))
        assert step == 1
        number = int(np.searchsorted(self._ends, begin, side="right"))
        pieces = []
        while begin < end:
            start = int(self._ends[number - 1]) if number else 0
            upto = min(end, int(self._ends[number]))
            if upto > begin:  # an empty file cannot be mapped
                pieces.append(self._map(number)[begin - start : upto - start])
            begin, number = upto, number + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.zeros(0, self.dtype), *pieces])

    def _mapped(self, number: int) -> npt.NDArray[np.unsignedinteger]:
        return np.memmap(self._files[number], dtype=self.dtype, mode="r")
