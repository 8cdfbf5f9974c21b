"""Text that somebody has extracted already: Parquet or JSON lines, one document a row.

One input file becomes one shard; a file's rows are in memory together. A row that cannot be used (no text, another
type, not JSON) is a row of the log that names the file and the record, counted from 1; what was repaired in one (NUL,
lone surrogates) is told in its row.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.sources import DocumentsSource
from neo_assets.core.records import document_id, write_table
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import described_files
from neo_assets.crawl.files_source import log_name, read_files
from neo_assets.crawl.input_files import InputFile
from neo_assets.web.fetch_log import FETCHED, LogRow, log_table, now, storable

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
_CHUNK = 1 << 16
FIELDS_TOLD = 20
"""Fields that are named where one is missing."""
_PATIENCE = 16
"""How many times the limit a line may go on until the file is given up."""


class _BadRow(Exception):
    """A row that cannot be used; says why. ``lost_bytes`` of its file were not read because of it."""

    def __init__(self, reason: str, lost_bytes: int = 0, outcome: str = "bad_row") -> None:
        super().__init__(reason)
        self.lost_bytes = lost_bytes
        self.outcome = outcome


def read_documents_source(config: DocumentsSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The rows of Parquet or JSON-lines files as documents, with a log of the rows that could not be used and why.

    Raises:
        BadInput: a path or pattern matches no file, a remote one cannot be read, or a file is neither Parquet nor JSON
            lines by its name.
    """
    files = described_files(config, inputs)
    for file in files:
        if file.suffix not in config.SUFFIXES:
            raise BadInput(
                f"{file.name}: documents are read from .parquet, .jsonl, .ndjson or .json files (one object a line),"
                " also packed as .gz, .zst, .bz2 or .xz"
            )
    return read_files(config, inputs, out, files, partial(_copy, config))


def _copy(config: DocumentsSource, folder: Path, i: int, file: InputFile) -> None:
    moment = now()
    kept: list[dict[str, str]] = []
    entries: list[LogRow] = []
    with file.local(folder / ".logs") as path:
        for number, raw in enumerate(open_records(file, path, config), 1):
            place = f"{file.name}#{number}"
            try:
                row, repairs, alias = _document(raw, config, place)
            except _BadRow as bad:
                entries.append(
                    LogRow(
                        url=place,
                        final_url=place,
                        doc_id=document_id(place, b""),
                        outcome=bad.outcome,
                        reason=f"{file.name} record {number}: {bad}",
                        fetched_at=moment,
                        file=file.name,
                        place=number - 1,
                        lost_bytes=bad.lost_bytes,
                    )
                )
                continue
            kept.append({**row, "fetched_at": moment})
            payload = row["text"].encode()
            entries.append(
                LogRow(
                    url=row["url"],
                    address=row["url"],
                    final_url=row["url"],
                    doc_id=row["doc_id"],
                    outcome=FETCHED,
                    reason=repairs,
                    bytes=len(payload),
                    payload_digest=digest_bytes(payload),
                    fetched_at=moment,
                    file=file.name,
                    place=number - 1,
                    alias=alias,
                )
            )
    write_table(
        pa.Table.from_pylist(sorted(kept, key=lambda r: r["doc_id"]), schema=ROW), folder / f"rows/part-{i:05d}.parquet"
    )
    write_table(log_table(entries), folder / log_name(i))


def _document(raw: object, config: DocumentsSource, place: str) -> tuple[dict[str, str], str, str]:
    """(the row, what was repaired in it, what others call it). Raises _BadRow."""
    if isinstance(raw, _BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise _BadRow(f"is a {type(raw).__name__}, not an object with fields")
    text, repairs = repaired_text(_text(raw, config.text_field))
    if not text.strip():
        raise _BadRow(f"field '{config.text_field}' is empty", outcome="empty_text")
    url = _name(raw, config.url_field) or place
    title = repaired_text(_name(raw, config.title_field))[0]
    row = {"doc_id": document_id(url, text.encode()), "text": text, "url": url, "title": title}
    return row, repairs, _name(raw, config.id_field)


def _field(raw: Mapping[str, object], name: str) -> object:
    """A field by its name; a dot leads into a field, unless the name itself has it."""
    if name in raw or "." not in name:
        return raw.get(name)
    outer, _, inner = name.partition(".")
    value = raw.get(outer)
    return _field(value, inner) if isinstance(value, dict) else None


def _text(raw: Mapping[str, object], name: str) -> str:
    value = _field(raw, name)
    if value is None:
        there = ", ".join(f"'{storable(str(key))[:40]}'" for key in list(raw)[:FIELDS_TOLD]) or "none"
        raise _BadRow(f"field '{name}' is missing; its fields are {there} (text_field)")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _BadRow(f"field '{name}' is bytes that are not UTF-8 (byte {error.start})") from None
    if not isinstance(value, str):
        raise _BadRow(f"field '{name}' is {type(value).__name__}, not text")
    return value


def _name(raw: Mapping[str, object], name: str | None) -> str:
    """A name of any type as text: a number as it is written, what has parts as JSON."""
    value = _field(raw, name) if name is not None else None
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def repaired_text(text: str) -> tuple[str, str]:
    """(text that can be stored, what was done to it in words): NUL is taken out, lone surrogates become U+FFFD."""
    told = []
    if nul := text.count("\x00"):
        text = text.replace("\x00", "")
        told.append(f"{nul} NUL taken out")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Halves of one character that were written apart belong together.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        told.append("lone surrogates replaced")
    return text, ", ".join(told)


def open_records(file: InputFile, path: Path, config: DocumentsSource) -> Iterator[object]:
    """Values of a file, or what is wrong with them."""
    if file.suffix == ".parquet":
        return _parquet_rows(path, file, config.text_field)
    return _json_rows(path, file, config.max_record_bytes)


def _parquet_rows(path: Path, file: InputFile, text_field: str) -> Iterator[object]:
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        yield _BadRow(f"the file cannot be read ({storable(str(error))[:200]})", file.size)
        return
    with parquet:
        names = parquet.schema_arrow.names
        if text_field not in names and text_field.partition(".")[0] not in names:
            there = ", ".join(f"'{name}'" for name in names[:FIELDS_TOLD])
            yield _BadRow(
                f"the file has no column '{text_field}'; its columns are {there} (text_field)."
                f"{did_you_mean(text_field, names)}",
                file.size,
            )
            return
        for group in range(parquet.num_row_groups):
            told = parquet.metadata.row_group(group)
            try:
                for batch in parquet.iter_batches(batch_size=_BATCH, row_groups=[group]):
                    for i in range(batch.num_rows):
                        yield _parquet_row(batch, i)
            except (pa.ArrowException, OSError) as error:
                lost = sum(told.column(c).total_compressed_size for c in range(told.num_columns))
                why = f"rows {group}: {told.num_rows} rows cannot be read ({storable(str(error))[:200]})"
                yield _BadRow(f"of the file's group of {why}", lost)


def _parquet_row(batch: pa.RecordBatch, i: int) -> object:
    try:
        return {name: batch.column(name)[i].as_py() for name in batch.schema.names}
    except (UnicodeDecodeError, pa.ArrowException, ValueError) as error:
        return _BadRow(f"cannot be decoded ({error})")


def _json_rows(path: Path, file: InputFile, limit: int) -> Iterator[object]:
    """Rows of a file of JSON lines, a line in memory at a time. One that does not end within ``limit`` bytes is passed
    over, up to :data:`_PATIENCE` times as far.
    """
    with path.open("rb") as packed:
        try:
            stream = _unpacked(packed, file.packed)
            while line := stream.readline(limit + 1):
                if len(line) <= limit or line.endswith(b"\n"):
                    if line.strip():
                        yield _json_row(line)
                    continue
                ends = any(stream.readline(limit).endswith(b"\n") for _ in range(_PATIENCE))
                rest = "" if ends else "; the rest of the file was not read"
                lost = 0 if ends else max(file.size - packed.tell(), 1)
                yield _BadRow(f"is longer than {limit:,} bytes (max_record_bytes){rest}", lost)
                if not ends:
                    return
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            # What was taken from the file last is where it went wrong, so that "not read" is no less than it was.
            lost = max(file.size - max(packed.tell() - _CHUNK, 0), 1)
            yield _BadRow(f"the file cannot be read from here on ({error})", lost)


def _json_row(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return _BadRow(f"is not UTF-8 (byte {error.start})")
    except (ValueError, RecursionError) as error:
        return _BadRow(f"is not JSON ({error})")


class _Zstd(io.RawIOBase):
    """What a zstd file unpacks to, frame by frame. The library's own reader takes a torn file for a finished one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        rest = b""
        while not self._ready:
            source = rest or self._stream.read(_CHUNK)
            if not source:
                if self._begun:
                    raise EOFError("the zstd frame ends before its end")
                return 0
            self._begun = True
            self._ready, rest = self._frame.decompress(source), b""
            if self._frame.eof:
                rest, self._begun = self._frame.unused_data, False
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                if rest and self._ready:  # what follows the frame is read when its turn comes
                    self._stream.seek(-len(rest), io.SEEK_CUR)
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _unpacked(stream: IO[bytes], packed: str) -> IO[bytes]:
    match packed:
        case ".gz":
            return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
        case ".bz2":
            return bz2.BZ2File(stream)  # type: ignore[return-value]
        case ".xz":
            return lzma.LZMAFile(stream)  # type: ignore[return-value]
        case ".zst" | ".zstd":
            return io.BufferedReader(_Zstd(stream), _CHUNK)
    return stream
