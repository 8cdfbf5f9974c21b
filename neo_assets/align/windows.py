"""Pieces of text in windows of a token stream, as fine-tuning reads them; and what fills windows up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Workspace
from neo_assets.tasks.drawing import keyed
from neo_assets.tokenizer.huggingface import PADDING
from neo_assets.tokenizer.stream import INDEX
from neo_assets.tokenizer.train import end_of_document_id
from training.data.learnt_stream import LEARNT
from training.ledger import BEGINS, FILLING

PIECES = pa.schema([*INDEX, (BEGINS, pa.int64())])


@dataclass(frozen=True)
class Piece:
    """What stands in the stream as one document: tokens, which are learnt, and what it is."""

    ids: npt.NDArray[np.int64]
    learnt: npt.NDArray[np.uint8]
    doc_id: str
    source: str
    lang: str
    round: int = 0
    begins: int = 0


def rounds_of(rounds: float, seed: int, key: str) -> int:
    """How often a conversation is read: whole rounds, and of the part of one its keyed hash decides."""
    full, part = divmod(rounds, 1)
    return int(full) + (int(keyed(seed, "round", key)[:13], 16) < part * (1 << 52))


def padding_token(tokenizer: Tokenizer, pieces: int) -> int:
    """The token that fills windows up; it is never learnt."""
    if PADDING in tokenizer.special_tokens:
        return pieces + tokenizer.special_tokens.index(PADDING)
    return end_of_document_id(tokenizer, pieces)


def _stream(windows: Sequence[Sequence[Piece]], window: int, padding: int) -> Iterator[Piece]:
    """All of the stream: each window filled up, and one token more, for the last label."""

    def filling(count: int) -> Piece:
        return Piece(np.full(count, padding, np.int64), np.zeros(count, np.uint8), FILLING, FILLING, FILLING)

    for pieces in windows:
        yield from pieces
        if left := window - sum(len(piece.ids) for piece in pieces):
            yield filling(left)
    yield filling(1)


def write_windows(
    windows: Sequence[Sequence[Piece]], window: int, padding: int, dtype: str, out: Workspace
) -> pa.Table:
    """The stream's files; returns its index."""
    rows: list[dict[str, object]] = []
    position = 0
    with (out.path / "tokens.bin").open("wb") as tokens, (out.path / LEARNT).open("wb") as learnt:
        for piece in _stream(windows, window, padding):
            piece.ids.astype(dtype).tofile(tokens)
            piece.learnt.tofile(learnt)
            rows.append(
                {
                    "position": position,
                    "doc_id": piece.doc_id,
                    "round": piece.round,
                    "source": piece.source,
                    "lang": piece.lang,
                    "tokens": len(piece.ids),
                    BEGINS: piece.begins,
                }
            )
            position += len(piece.ids)
    index = pa.Table.from_pylist(rows, schema=PIECES)
    np.save(out.path / "offsets.npy", np.array([*index.column("position").to_pylist(), position], np.int64))
    out.write("index.parquet", index)
    return index
