"""Pieces of text in windows of a token stream, as fine-tuning reads them; and what fills windows up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.align.wording import Wording
from neo_assets.core.store import Workspace
from neo_assets.tasks.drawing import keyed
from neo_assets.tokenizer.stream import INDEX
from training.data.learnt_stream import LEARNT
from training.data.stream_files import stream_digest
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
    windows: Sequence[Sequence[Piece]], window: int, wording: Wording, out: Workspace, **facts: int
) -> dict[str, object]:
    """The stream's files; returns what ``stream.json`` says of it, ``facts`` too."""
    rows: list[dict[str, object]] = []
    position = 0
    with (out.path / "tokens.bin").open("wb") as tokens, (out.path / LEARNT).open("wb") as learnt:
        for piece in _stream(windows, window, wording.padding):
            piece.ids.astype(wording.dtype).tofile(tokens)
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
    told: dict[str, object] = {
        "dtype": wording.dtype,
        "digest": stream_digest(out.path),
        "tokens": position,
        "documents": index.num_rows,
        "window": window,
        "template": wording.name,
        **facts,
    }
    out.write_text("stream.json", json.dumps(told))
    return told
