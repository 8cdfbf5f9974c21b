"""The tables that stages hand to each other, and how they are written, read and digested.

Every document is one Parquet row from ``documents`` on; every stage writes one verdict row for every document it saw. Both
are Arrow tables with the schemas below. Files are zstd Parquet in ``doc_id`` order, so that one document's row is found by
row-group statistics (6 ms in 1e7 rows) at the price of a slower full scan by rule; the funnel is kept as a small table beside it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import MultisetDigest, digest_bytes

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
NOT_CONTENT = frozenset({"fetched_at"})
_ROW_GROUP = 16_384


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


def verdict_table(rows: Iterable[Verdict]) -> pa.Table:
    """Verdicts as an Arrow table in ``doc_id`` order."""
    ordered = sorted(rows, key=lambda r: r.doc_id)
    columns = {name: [getattr(r, name) for r in ordered] for name in VERDICT.names}
    return pa.table(columns, schema=VERDICT)


def write_table(table: pa.Table, path: Path) -> Path:
    """Write zstd Parquet so that a reader sees the whole file or none: aside, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    pq.write_table(table, aside, compression="zstd", row_group_size=_ROW_GROUP)
    fsync_rename(aside, path)
    return path


def fsync_rename(aside: Path, path: Path) -> None:
    """Make ``aside`` durable and give it its final name in one step."""
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file in one step; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(text, encoding="utf-8")
    fsync_rename(aside, path)


def read_table(path: Path, schema: pa.Schema | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file and hold it to ``schema``.

    Raises:
        BadInput: the file is no Parquet, or a column is missing or has another type; names the file and the column.
    """
    try:
        table = pq.read_table(path, columns=list(columns) if columns else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file ({error})") from error
    for field in schema or ():
        if columns and field.name not in columns:
            continue
        if field.name not in table.column_names:
            raise BadInput(f"{path}: column '{field.name}' is missing")
        if table.schema.field(field.name).type != field.type:
            raise BadInput(f"{path}: column '{field.name}' is {table.schema.field(field.name).type}, expected {field.type}")
    return table


def rows(table: pa.Table) -> Iterator[dict[str, object]]:
    """Rows of a table as dictionaries, batch by batch."""
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def table_digest(tables: Iterable[pa.Table]) -> str:
    """Content digest of tables taken together: order-free, cut-free, without columns that say *when* (see ``NOT_CONTENT``)."""
    digest = MultisetDigest()
    for table in tables:
        names = [n for n in sorted(table.column_names) if n not in NOT_CONTENT]
        columns = [table.column(n).to_pylist() for n in names]
        for values in zip(*columns, strict=True):
            digest.add_row(values)
    return digest.hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """:func:`table_digest` over Parquet files, one file in memory at a time."""
    return table_digest(pq.read_table(p) for p in paths)


def remove_leftovers(folder: Path) -> None:
    """Delete half-written files (``*.tmp``) that a killed process left in ``folder``."""
    for path in folder.rglob("*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
