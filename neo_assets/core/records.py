"""The tables that stages hand to each other, and how they are written, read and digested.

Every document is one Parquet row from ``documents`` on; every stage writes one verdict row for every document it saw.
Both are Arrow tables with the schemas below. Files are zstd Parquet in ``doc_id`` order, so that one document's row is
found by row-group statistics (6 ms in 1e7 rows) at the price of a slower full scan by rule; the funnel is kept as a
small table beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import MultisetDigest, digest_bytes
from neo_assets.core.here import here
from neo_assets.core.written import Hashing, note

DOCUMENT = pa.schema(
    [
        ("doc_id", pa.string()),  # 128-bit hex: canonical URL + payload digest, stable from the crawl on
        ("text", pa.string()),
        ("lang", pa.string()),  # ISO 639-1, "und" when it cannot be told
        ("lang_score", pa.float64()),  # 0..1
        ("script", pa.string()),  # "Hans" | "Hant" for Chinese, "" otherwise
        ("url", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("title", pa.string()),
        ("fetched_at", pa.string()),  # RFC 3339, UTC; never part of a digest
        ("cluster_id", pa.string()),  # near-duplicate cluster; the document's own id until near_dedup
    ]
)

VERDICT = pa.schema(
    [
        ("doc_id", pa.string()),
        ("stage", pa.string()),
        ("verdict", pa.string()),  # kept | dropped | edited
        ("rule", pa.string()),  # "" when kept
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("twin", pa.string()),  # doc_id of the document that stays instead
        ("source", pa.string()),  # "" where the stage's key names it
        ("detail", pa.string()),
    ]
)

KEPT, DROPPED, EDITED = "kept", "dropped", "edited"
TEXT_BYTES = "text_bytes"
"""Column of a file of documents, beside those of :data:`DOCUMENT`: UTF-8 bytes of each text, for who needs no text."""
NOT_CONTENT = frozenset({"fetched_at", TEXT_BYTES})
_ROW_GROUP = 16_384
PART = "part-"
"""How the name of a file of documents begins."""
RECALLED, ROUNDS = "recalled", "rounds"
"""Folders with a file for each file of documents: ids of what recall found; what a mixture reads, and how often."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one stage decided about one document."""

    doc_id: str
    stage: str
    verdict: str = KEPT
    rule: str = ""
    value: float | None = None
    threshold: float | None = None
    twin: str = ""
    source: str = ""
    detail: str = ""


def document_id(canonical_url: str, payload: bytes) -> str:
    """Stable id of a fetched document: 128-bit BLAKE2b over its canonical URL and its payload, as 32 hex digits."""
    return digest_bytes(canonical_url.encode() + b"\x00" + digest_bytes(payload).encode())


def halves(doc_ids: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """128-bit hexadecimal ids as two uint64 columns that sort as the ids do, 16 bytes an id."""
    text = b"".join(bytes.fromhex(i) for i in doc_ids.to_pylist())
    pairs = np.frombuffer(text, dtype=">u8").reshape(-1, 2)
    return pairs[:, 0].astype(np.uint64), pairs[:, 1].astype(np.uint64)


def verdict_table(rows: Iterable[Verdict]) -> pa.Table:
    """Verdicts as an Arrow table in ``doc_id`` order."""
    ordered = sorted(rows, key=lambda r: r.doc_id)
    columns = {name: [getattr(r, name) for r in ordered] for name in VERDICT.names}
    return pa.table(columns, schema=VERDICT)


def write_table(table: pa.Table, path: Path) -> Path:
    """Write zstd Parquet so that a reader sees the whole file or none: aside, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    with Hashing(aside) as stream:
        pq.write_table(table, stream, compression="zstd", row_group_size=_ROW_GROUP)
    fsync_rename(aside, path, stream.digest())
    return path


def array_file(folder: Path, shard: Path) -> Path:
    """Where a step keeps the array that it made of a shard."""
    return folder / f"{shard.stem}.npy"


def write_array(array: npt.NDArray[Any], path: Path) -> None:
    """Write a .npy file so that a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    with aside.open("wb") as stream:
        np.save(stream, array)
    fsync_rename(aside, path)


def aside_of(path: Path) -> Path:
    """A name beside ``path`` for what will get that name when it is whole. No two writers share one, on whatever host
    they are.
    """
    return path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")


def fsync_rename(aside: Path, path: Path, digest: str | None = None) -> None:
    """Make ``aside`` durable and give it its final name in one step. ``digest``: of its bytes, where it was taken while
    they were written.
    """
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.replace(path)
    if digest is not None:
        note(path, digest)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file in one step; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    aside.write_text(text, encoding="utf-8")
    fsync_rename(aside, path)


def read_table(path: Path, schema: pa.Schema | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file and hold it to ``schema``: its columns, or those that are named.

    Raises:
        BadInput: the file is no Parquet, or a column is missing or has another type; names the file and the column.
    """
    try:
        with pq.ParquetFile(here(path)) as file:  # pq.read_table imports pandas first, a quarter of a second
            wanted = columns or (schema.names if schema is not None else None)
            there = file.schema_arrow.names
            table = file.read(columns=[name for name in wanted if name in there] if wanted else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file ({error})") from error
    if missing := set(columns or ()) - set(table.column_names):
        raise BadInput(f"{path}: column '{min(missing)}' is missing")
    for field in schema or ():
        if columns and field.name not in columns:
            continue
        if field.name not in table.column_names:
            raise BadInput(f"{path}: column '{field.name}' is missing")
        if table.schema.field(field.name).type != field.type:
            raise BadInput(
                f"{path}: column '{field.name}' is {table.schema.field(field.name).type}, expected {field.type}"
            )
    return table


def text_lengths(path: Path) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of every text of a file of documents, read from their column; of a file without one, measured."""
    with pq.ParquetFile(here(path)) as file:
        if TEXT_BYTES in file.schema_arrow.names:
            return np.asarray(file.read(columns=[TEXT_BYTES]).column(0).to_numpy(), np.int64)
    return np.asarray(pc.binary_length(read_table(path, columns=["text"]).column("text")).to_numpy(), np.int64)


def rows(table: pa.Table) -> Iterator[dict[str, object]]:
    """Rows of a table as dictionaries, batch by batch."""
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def table_digest(tables: Iterable[pa.Table]) -> str:
    """Content digest of tables taken together: order-free, cut-free, without columns that say *when* (see
    ``NOT_CONTENT``).
    """
    digest = MultisetDigest()
    for table in tables:
        digest.add_many(*row_bytes(table))
    return digest.hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """:func:`table_digest` over Parquet files, one row group in memory at a time."""
    digest = MultisetDigest()
    for path in paths:
        with pq.ParquetFile(here(path)) as file:
            for batch in file.iter_batches(batch_size=_ROW_GROUP):
                digest.add_many(*row_bytes(pa.Table.from_batches([batch])))
    return digest.hexdigest()


def row_bytes(table: pa.Table) -> tuple[memoryview, list[int]]:
    """All rows as bytes, one after another, and where each begins: the lengths of its values, then the values, columns
    in name order.

    A missing value has the length "n", so it is never the empty string; lists are spelled as JSON.
    """
    lengths, values = [], []
    for name in sorted(table.column_names):
        if name in NOT_CONTENT:
            continue
        column = table.column(name)
        if pa.types.is_nested(column.type):
            column = pa.chunked_array(
                [[None if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist()]],
                pa.large_string(),
            )
        text = pc.cast(column, pa.large_string())
        as_bytes = pc.cast(text, pa.large_binary())
        lengths.append(
            pc.coalesce(pc.cast(pc.binary_length(as_bytes), pa.large_string()), pa.scalar("n", pa.large_string()))
        )
        values.append(pc.coalesce(as_bytes, pa.scalar(b"", pa.large_binary())))
    if not lengths or not table.num_rows:
        return memoryview(b""), [0]
    head = pc.cast(pc.binary_join_element_wise(*lengths, pa.scalar(",", pa.large_string())), pa.large_binary())
    rows = pc.binary_join_element_wise(head, *values, pa.scalar(b"\0", pa.large_binary())).combine_chunks()
    _, offsets, data = rows.buffers()
    begin = np.frombuffer(offsets, np.int64)[rows.offset : rows.offset + len(rows) + 1]
    return memoryview(data), begin.tolist()


def remove_leftovers(folder: Path) -> None:
    """Delete half-written files (``*.tmp``) that a killed process left in ``folder``."""
    for path in folder.rglob("*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
