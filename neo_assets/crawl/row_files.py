"""Rows of files, whatever they hold: Parquet, JSON lines, one JSON array, YAML; also packed (.gz, .zst, .bz2, .xz).
What cannot be read of one is told in its place, and costs no more than itself.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from neo_assets.core.errors import did_you_mean
from neo_assets.crawl.input_files import InputFile
from neo_assets.web.fetch_log import storable

_BATCH = 4096
_CHUNK = 1 << 16
FIELDS_TOLD = 20
"""Fields that are named where one is missing."""
_PATIENCE = 16
"""How many times the limit a line may go on until the file is given up."""


class BadRow(Exception):
    """A row that cannot be used; says why. ``lost_bytes`` of its file were not read because of it."""

    def __init__(self, reason: str, lost_bytes: int = 0, outcome: str = "bad_row") -> None:
        super().__init__(reason)
        self.lost_bytes = lost_bytes
        self.outcome = outcome


def open_records(file: InputFile, path: Path, limit: int, needed: str = "") -> Iterator[object]:
    """Values of a file, or what is wrong with them (:class:`BadRow`). ``limit``: bytes of a line; ``needed``: the
    column that a Parquet file must have.
    """
    if file.suffix == ".parquet":
        return _parquet_rows(path, file, needed)
    if file.suffix in (".yml", ".yaml"):
        return _yaml_rows(path, file, limit)
    return _json_rows(path, file, limit)


def _parquet_rows(path: Path, file: InputFile, needed: str) -> Iterator[object]:
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        yield BadRow(f"the file cannot be read ({storable(str(error))[:200]})", file.size)
        return
    with parquet:
        names = parquet.schema_arrow.names
        if needed and needed not in names and needed.partition(".")[0] not in names:
            there = ", ".join(f"'{name}'" for name in names[:FIELDS_TOLD])
            yield BadRow(
                f"the file has no column '{needed}'; its columns are {there} (text_field)."
                f"{did_you_mean(needed, names)}",
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
                yield BadRow(f"of the file's group of {why}", lost)


def _parquet_row(batch: pa.RecordBatch, i: int) -> object:
    try:
        return {name: batch.column(name)[i].as_py() for name in batch.schema.names}
    except (UnicodeDecodeError, pa.ArrowException, ValueError) as error:
        return BadRow(f"cannot be decoded ({error})")


def _json_rows(path: Path, file: InputFile, limit: int) -> Iterator[object]:
    """Rows of a file of JSON lines, a line in memory at a time. One that does not end within ``limit`` bytes is passed
    over, up to :data:`_PATIENCE` times as far.
    """
    with path.open("rb") as packed:
        try:
            stream = _unpacked(packed, file.packed)
            if file.suffix == ".json":
                stream = io.BufferedReader(stream, _CHUNK)  # type: ignore[arg-type,type-var]
                if stream.peek(_CHUNK).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
                    yield from _array_rows(stream, file, limit)
                    return
            while line := stream.readline(limit + 1):
                if len(line) <= limit or line.endswith(b"\n"):
                    if line.strip():
                        yield _json_row(line)
                    continue
                ends = any(stream.readline(limit).endswith(b"\n") for _ in range(_PATIENCE))
                rest = "" if ends else "; the rest of the file was not read"
                lost = 0 if ends else max(file.size - packed.tell(), 1)
                yield BadRow(f"is longer than {limit:,} bytes (max_record_bytes){rest}", lost)
                if not ends:
                    return
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            # What was taken from the file last is where it went wrong, so that "not read" is no less than it was.
            lost = max(file.size - max(packed.tell() - _CHUNK, 0), 1)
            yield BadRow(f"the file cannot be read from here on ({error})", lost)


def _array_rows(stream: IO[bytes], file: InputFile, limit: int) -> Iterator[object]:
    """Elements of one JSON array, of which no more than one element and a chunk is in memory at once."""
    text = codecs.getreader("utf-8-sig")(stream)
    decoder = json.JSONDecoder()
    held, at, ended = text.read(_CHUNK).lstrip()[1:], 0, False
    while True:
        while at < len(held) and held[at] in " \t\r\n,":
            at += 1
        if held[at : at + 1] == "]":
            return
        try:
            value, at = decoder.raw_decode(held, at)
            if at == len(held) and not ended:  # a number may go on
                raise ValueError("it may go on")
            yield value
        except (ValueError, RecursionError) as error:
            if len(held) - at > limit:
                yield BadRow(f"is longer than {limit:,} bytes (max_record_bytes); the rest was not read", file.size)
                return
            more = text.read(max(_CHUNK, len(held) - at))
            if ended := not more:
                yield BadRow(f"is not JSON ({error}); the rest of the array was not read", max(len(held) - at, 1))
                return
            held, at = held[at:] + more, 0


def _yaml_rows(path: Path, file: InputFile, limit: int) -> Iterator[object]:
    """Elements of a YAML file's list: the whole of it, or the one under ``conversations``."""
    import yaml

    with path.open("rb") as packed:
        try:
            text = _unpacked(packed, file.packed).read(limit + 1)
            if len(text) > limit:
                raise ValueError(f"it is longer than {limit:,} bytes (max_record_bytes)")
            content = yaml.safe_load(text.decode("utf-8-sig"))
        except (
            OSError,
            EOFError,
            ValueError,
            yaml.YAMLError,
            zlib.error,
            lzma.LZMAError,
            zstandard.ZstdError,
        ) as error:
            yield BadRow(f"the file cannot be read ({' '.join(str(error).split())[:200]})", file.size)
            return
    rows = content.get("conversations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        yield BadRow("the file holds no list, nor one under 'conversations'", file.size)
        return
    yield from rows


def _json_row(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return BadRow(f"is not UTF-8 (byte {error.start})")
    except (ValueError, RecursionError) as error:
        return BadRow(f"is not JSON ({error})")


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
