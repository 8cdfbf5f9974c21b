"""Text that somebody has extracted already: Parquet or JSON lines, one document a row.

One input file becomes one shard; a file's rows are in memory together. A row that cannot be used (no text, another
type, not JSON) is a row of the log that names the file and the record, counted from 1; what was repaired in one (NUL,
lone surrogates) is told in its row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.sources import DocumentsSource
from neo_assets.core.records import document_id, write_table
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import described_files
from neo_assets.crawl.files_source import log_name, read_files
from neo_assets.crawl.input_files import InputFile
from neo_assets.crawl.row_files import FIELDS_TOLD, BadRow, open_records
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
        for number, raw in enumerate(open_records(file, path, config.max_record_bytes, config.text_field), 1):
            place = f"{file.name}#{number}"
            try:
                row, repairs, alias = _document(raw, config, place)
            except BadRow as bad:
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
    """(the row, what was repaired in it, what others call it). Raises BadRow."""
    if isinstance(raw, BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise BadRow(f"is a {type(raw).__name__}, not an object with fields")
    text, repairs = repaired_text(_text(raw, config.text_field))
    if not text.strip():
        raise BadRow(f"field '{config.text_field}' is empty", outcome="empty_text")
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
        raise BadRow(f"field '{name}' is missing; its fields are {there} (text_field)")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRow(f"field '{name}' is bytes that are not UTF-8 (byte {error.start})") from None
    if not isinstance(value, str):
        raise BadRow(f"field '{name}' is {type(value).__name__}, not text")
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
