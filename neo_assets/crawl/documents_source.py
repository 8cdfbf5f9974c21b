"""Text that somebody has extracted already: Parquet or JSON lines, one document a row.

One input file becomes one shard; a file's rows are in memory together. A row that cannot be used (no text, another
type, NUL or lone surrogates, not JSON) is a row of the log that names the file and the record, counted from 1.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.data import DocumentsSource
from neo_assets.core.records import document_id, write_table
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import input_files, refuse_changed_files
from neo_assets.web.fetch_log import FETCHED, LogRow, log_outcome, log_table, now, stage_key, storable

ROW = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("title", pa.string()),
        ("fetched_at", pa.string()),
    ]
)

_BATCH = 4096
_PATIENCE = 16
"""How many times the limit a line may go on until the file is given up."""


class _BadRow(Exception):
    """A row that cannot be used; says why."""


def read_documents_source(config: DocumentsSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The rows of Parquet or JSON-lines files as documents, with a log of the rows that could not be used and why.

    Raises:
        BadInput: a path or pattern matches no file, or a file is neither Parquet nor JSON lines by its name.
    """
    stage = stage_key("raw_crawl", inputs)
    refuse_changed_files(config, next(iter(inputs.values())))
    files = input_files(config)
    for path in files:
        if not _is_parquet(path) and not _is_json_lines(path):
            raise BadInput(
                f"{path.name}: documents are read from .parquet, .jsonl, .ndjson, .jsonl.gz or .ndjson.gz files"
            )
    run_shards(
        partial(_copy, config, out.path),
        list(enumerate(files)),
        workers=out.workers,
        scratch=out.path / ".logs",
        input_bytes=total_bytes(files),
    )
    return log_outcome(stage, out, [out.path / _log_name(i) for i in range(len(files))], {"files": len(files)})


def _log_name(i: int) -> str:
    return f"log/part-{i:05d}.parquet"


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _is_json_lines(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))


def _copy(config: DocumentsSource, folder: Path, shard: tuple[int, Path]) -> None:
    i, path = shard
    if (folder / _log_name(i)).is_file():
        return
    moment = now()
    kept: list[dict[str, str]] = []
    entries: list[LogRow] = []
    for number, raw in _records(path, config.max_record_bytes):
        place = f"{path.name}#{number}"
        try:
            row = _document(raw, config, place)
        except _BadRow as bad:
            entries.append(
                LogRow(
                    place,
                    place,
                    document_id(place, b""),
                    "bad_row",
                    f"{path.name} record {number}: {bad}",
                    fetched_at=moment,
                )
            )
            continue
        kept.append({**row, "fetched_at": moment})
        payload = row["text"].encode()
        entries.append(
            LogRow(
                row["url"],
                row["url"],
                row["doc_id"],
                FETCHED,
                bytes=len(payload),
                payload_digest=digest_bytes(payload),
                fetched_at=moment,
            )
        )
    write_table(
        pa.Table.from_pylist(sorted(kept, key=lambda r: r["doc_id"]), schema=ROW), folder / f"rows/part-{i:05d}.parquet"
    )
    write_table(log_table(entries), folder / _log_name(i))


def _document(raw: object, config: DocumentsSource, place: str) -> dict[str, str]:
    if isinstance(raw, _BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise _BadRow(f"is a {type(raw).__name__}, not an object with fields")
    text = _text(raw, config.text_field, required=True)
    url = _text(raw, config.url_field) or place
    return {
        "doc_id": document_id(url, text.encode()),
        "text": text,
        "url": url,
        "title": _text(raw, config.title_field),
    }


def _text(raw: Mapping[str, object], name: str | None, required: bool = False) -> str:
    value = raw.get(name) if name is not None else None
    if value is None:
        if required:
            raise _BadRow(f"field '{name}' is missing")
        return ""
    if not isinstance(value, str):
        raise _BadRow(f"field '{name}' is {type(value).__name__}, not text")
    if "\x00" in value:
        raise _BadRow(f"field '{name}' holds NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(f"field '{name}' holds a lone surrogate at character {error.start}") from None
    return value


def _records(path: Path, limit: int) -> Iterator[tuple[int, object]]:
    """(record number from 1, value or what is wrong with it) of a file."""
    yield from enumerate(_parquet_rows(path) if _is_parquet(path) else _json_rows(path, limit), 1)


def _parquet_rows(path: Path) -> Iterator[object]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for i in range(batch.num_rows):
                    yield _parquet_row(batch, i)
    except (pa.ArrowException, OSError) as error:
        yield _BadRow(f"the file cannot be read from here on ({storable(str(error))[:200]})")


def _parquet_row(batch: pa.RecordBatch, i: int) -> object:
    try:
        return {name: batch.column(name)[i].as_py() for name in batch.schema.names}
    except (UnicodeDecodeError, pa.ArrowException, ValueError) as error:
        return _BadRow(f"cannot be decoded ({error})")


def _json_rows(path: Path, limit: int) -> Iterator[object]:
    """Rows of a file of JSON lines, a line in memory at a time. One that does not end within ``limit`` bytes is passed
    over, up to :data:`_PATIENCE` times as far.
    """
    try:
        with _open(path) as stream:
            while line := stream.readline(limit + 1):
                if len(line) <= limit or line.endswith(b"\n"):
                    if line.strip():
                        yield _json_row(line)
                    continue
                ends = any(stream.readline(limit).endswith(b"\n") for _ in range(_PATIENCE))
                yield _BadRow(
                    f"is longer than {limit:,} bytes (max_record_bytes)"
                    + ("" if ends else "; the rest of the file was not read")
                )
                if not ends:
                    return
    except (OSError, EOFError, zlib.error) as error:
        yield _BadRow(f"the file cannot be read from here on ({error})")


def _json_row(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return _BadRow(f"is not UTF-8 (byte {error.start})")
    except (ValueError, RecursionError) as error:
        return _BadRow(f"is not JSON ({error})")


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
