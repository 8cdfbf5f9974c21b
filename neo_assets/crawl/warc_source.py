"""WARC and WET files made by others. A WARC file is not copied: the log says what of it is taken, and where it stands.

A WET file's text goes on as documents do that somebody else has extracted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
from resiliparse.parse.encoding import detect_mime

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.sources import DOCUMENT_TYPES, Refusals, WarcSource, WetSource
from neo_assets.core.records import document_id, read_table, write_table
from neo_assets.core.store import Artifact, Outcome, Row, Workspace
from neo_assets.crawl.catalogue import described_files
from neo_assets.crawl.documents_source import ROW, repaired_text
from neo_assets.crawl.fetch import AGENT
from neo_assets.crawl.files_source import log_name, read_files
from neo_assets.crawl.input_files import InputFile
from neo_assets.crawl.stored_pages import write_index
from neo_assets.web.fetch_log import FETCHED, LogRow, log_table, now, storable
from neo_assets.web.foreign_warc import Damage, Text, read_warc
from neo_assets.web.links import canonical
from neo_assets.web.media import HTML, media_type
from neo_assets.web.page_view import refusal, view_page
from neo_assets.web.training_signals import PageSays
from neo_assets.web.warc_files import Response

_KINDS = "kinds/part-{:05d}.parquet"
_KIND = pa.schema([("kind", pa.string()), ("records", pa.int64())])


def read_warc_source(config: WarcSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The HTML responses and resources of other people's WARC files, where they lie, with a log of what was left behind
    and why. Records of other kinds are counted.

    Raises:
        BadInput: a path or pattern matches no file, or a remote one cannot be read.
    """
    return _read(config, inputs, out, partial(_index, refusals=config.refusals, keep_documents=config.keep_documents))


def read_wet_source(config: WetSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The text of other people's WET files, as documents, with a log of what could not be used and why.

    Raises:
        BadInput: a path or pattern matches no file, or a remote one cannot be read.
    """
    return _read(config, inputs, out, _copy_text)


def _read(
    config: WarcSource | WetSource, inputs: Mapping[str, Artifact], out: Workspace, work: Callable[..., None]
) -> Outcome:
    files = described_files(config, inputs)
    outcome = read_files(config, inputs, out, files, partial(work, limit=config.max_record_bytes))
    if isinstance(config, WarcSource):
        write_index(out, files)
    kinds: Counter[str] = Counter()
    for i in range(len(files)):
        for row in read_table(out.path / _KINDS.format(i), _KIND).to_pylist():
            kinds[row["kind"]] += row["records"]
    told: list[Row] = [{"kind": kind, "records": count} for kind, count in sorted(kinds.items())]
    outcome.tables["records"] = told
    return outcome


def _index(folder: Path, i: int, file: InputFile, *, limit: int, refusals: Refusals, keep_documents: bool) -> None:
    entries: list[LogRow] = []
    kinds: Counter[str] = Counter()
    with file.local(folder / ".logs") as path:
        for found in read_warc(path, limit):
            match found.what:
                case Damage() as damage:
                    kinds["damaged"] += 1
                    entries.append(_damage_row(file, damage))
                case Response() as response:
                    kinds["response or resource"] += 1
                    entries.append(_judge(response, refusals, keep_documents, file.name, found.offset))
                case Text():
                    kinds["conversion (text of a WET file: read it as kind: wet)"] += 1
                case kind:
                    kinds[kind] += 1
    _finish(folder, i, kinds, entries)


def _copy_text(folder: Path, i: int, file: InputFile, *, limit: int) -> None:
    entries: list[LogRow] = []
    kept: list[dict[str, str]] = []
    kinds: Counter[str] = Counter()
    with file.local(folder / ".logs") as path:
        for found in read_warc(path, limit):
            match found.what:
                case Damage() as damage:
                    kinds["damaged"] += 1
                    entries.append(_damage_row(file, damage))
                case Text() as told:
                    kinds["conversion"] += 1
                    text, repairs = repaired_text(told.payload.decode("utf-8", "replace"))
                    url = storable(told.url) or f"{file.name}#{found.offset}"
                    row = LogRow(
                        url=url,
                        address=url,
                        final_url=url,
                        doc_id=document_id(url, text.encode()),
                        outcome=FETCHED if text.strip() else "empty_text",
                        reason=repairs if text.strip() else "a record without text",
                        bytes=len(text.encode()),
                        payload_digest=digest_bytes(text.encode()) if text.strip() else "",
                        fetched_at=told.fetched_at,
                        file=file.name,
                        place=found.offset,
                    )
                    entries.append(row)
                    if row.outcome == FETCHED:
                        kept.append(
                            {"doc_id": row.doc_id, "text": text, "url": url, "title": "", "fetched_at": row.fetched_at}
                        )
                case Response():
                    kinds["response or resource (pages of a WARC file: read it as kind: warc)"] += 1
                case kind:
                    kinds[kind] += 1
    kept.sort(key=lambda row: row["doc_id"])
    write_table(pa.Table.from_pylist(kept, schema=ROW), folder / f"rows/part-{i:05d}.parquet")
    _finish(folder, i, kinds, entries)


def _finish(folder: Path, i: int, kinds: Counter[str], entries: list[LogRow]) -> None:
    told = [{"kind": kind, "records": count} for kind, count in sorted(kinds.items())]
    write_table(pa.Table.from_pylist(told, schema=_KIND), folder / _KINDS.format(i))
    write_table(log_table(entries), folder / log_name(i))


def _damage_row(file: InputFile, damage: Damage) -> LogRow:
    place = f"{file.name}#{damage.offset}"
    return LogRow(
        url=place,
        address=storable(damage.url),
        final_url=place,
        doc_id=document_id(place, b""),
        outcome="malformed_record",
        reason=f"{file.name} at byte {damage.offset}: {storable(damage.reason)}",
        fetched_at=now(),
        file=file.name,
        place=damage.offset,
        lost_bytes=damage.lost_bytes,
    )


def _judge(response: Response, refusals: Refusals, keep_documents: bool, file: str, place: int) -> LogRow:
    kind = media_type(response.content_type) or detect_mime(response.payload)
    outcome, reason = FETCHED, ""
    if not 200 <= response.status < 300:
        outcome, reason = "http_error", f"HTTP {response.status}"
    elif kind not in HTML and not (keep_documents and kind in DOCUMENT_TYPES):
        outcome, reason = "not_html", f"content type {kind}"
    elif not response.payload:
        outcome, reason = "empty", "an answer without a body"
    says = PageSays()
    if outcome == FETCHED:
        says = view_page(response, [AGENT, *refusals.agents]).says
        refused, words = refusal(says.training, says.not_kept, refusals)
        outcome, reason = refused or outcome, words
    kept = response.payload if outcome == FETCHED else b""
    url = canonical(response.url)
    return LogRow(
        url=url,
        address=response.url,
        final_url=url,
        doc_id=document_id(url, kept),
        outcome=outcome,
        reason=storable(reason),
        status=response.status,
        bytes=len(kept),
        truncated=response.truncated,
        content_type=storable(response.content_type),
        payload_digest=digest_bytes(kept) if kept else "",
        fetched_at=response.fetched_at,
        said=storable("\n".join(map(str, says.training))),
        file=file,
        place=place,
    )
