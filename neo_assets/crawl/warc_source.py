"""WARC files made by others, brought into our own segments; what is damaged is named in the log and left behind.

One input file becomes one segment. A record must have its full length, agree with its digests where it has any, and be
a readable HTTP response. After damage the reader looks for the next place that a record can begin at, so a damaged
record costs itself and not the rest of its file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType
from resiliparse.parse.encoding import detect_mime

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.data import Refusals, WarcSource
from neo_assets.core.records import document_id, write_table
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import input_files, refuse_changed_files
from neo_assets.crawl.fetch import AGENT
from neo_assets.web.fetch_log import FETCHED, REFUSED, LogRow, log_outcome, log_table, now, stage_key, storable
from neo_assets.web.http_body import TooLong, decoded_body
from neo_assets.web.links import BadUrl, canonical
from neo_assets.web.links import address as address_of
from neo_assets.web.page_view import view_page
from neo_assets.web.training_signals import PageSays
from neo_assets.web.warc_files import Response, SegmentWriter

SOFTWARE = "NeoFoundry"

_HTML = ("text/html", "application/xhtml+xml")
_STARTS = {b"\x1f\x8b": b"\x1f\x8b\x08", b"\x28\xb5": b"\x28\xb5\x2f\xfd", b"\x04\x22": b"\x04\x22\x4d\x18"}
_PLAIN_START = b"WARC/1."


@dataclass(frozen=True, slots=True)
class _Damage:
    offset: int
    reason: str


def read_warc_source(config: WarcSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The HTML responses of other people's WARC files, in WARC segments of our own, with a log of what was left behind
    and why.

    Raises:
        BadInput: a path or pattern matches no file.
    """
    stage = stage_key("raw_crawl", inputs)
    refuse_changed_files(config, next(iter(inputs.values())))
    files = input_files(config)
    run_shards(
        partial(_copy, out.path, config.max_record_bytes, config.refusals),
        list(enumerate(files)),
        workers=out.workers,
        scratch=out.path / ".logs",
        input_bytes=total_bytes(files),
    )
    return log_outcome(stage, out, [out.path / _log_name(i) for i in range(len(files))], {"files": len(files)})


def _log_name(i: int) -> str:
    return f"log/part-{i:05d}.parquet"


def _copy(folder: Path, limit: int, refusals: Refusals, shard: tuple[int, Path]) -> None:
    i, path = shard
    if (folder / _log_name(i)).is_file():
        return
    writer = SegmentWriter(folder / f"warc/part-{i:05d}.warc.gz", SOFTWARE)
    entries = []
    for found in _responses(path, limit):
        if isinstance(found, _Damage):
            place = f"{path.name}#{found.offset}"
            entries.append(
                LogRow(
                    place,
                    place,
                    document_id(place, b""),
                    "malformed_record",
                    f"{path.name} at byte {found.offset}: {storable(found.reason)}",
                    fetched_at=now(),
                )
            )
            continue
        row = _judge(found, refusals)
        if row.outcome == FETCHED:
            writer.add(found)
        entries.append(row)
    writer.finish()
    write_table(log_table(entries), folder / _log_name(i))


def _judge(response: Response, refusals: Refusals) -> LogRow:
    kind = response.content_type.partition(";")[0].strip().lower() or detect_mime(response.payload)
    outcome, reason = FETCHED, ""
    if not 200 <= response.status < 300:
        outcome, reason = "http_error", f"HTTP {response.status}"
    elif kind not in _HTML:
        outcome, reason = "not_html", f"content type {kind}"
    elif not response.payload:
        outcome, reason = "empty", "an answer without a body"
    says = PageSays()
    if outcome == FETCHED:
        says = view_page(response, [AGENT, *refusals.agents]).says
        if refused := next((str(s) for s in says.training if s.refuses and s.signal in refusals.obey), ""):
            outcome, reason = REFUSED, refused
        elif refusals.page_robots and says.not_kept:
            outcome, reason = "page_robots", says.not_kept
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
    )


def _responses(path: Path, limit: int) -> Iterator[Response | _Damage]:
    """Responses of one WARC file in order, and damage where it lies. Never more than ``limit`` bytes of a record are
    held.
    """
    if path.stat().st_size == 0:
        yield _Damage(0, "the file is empty")
        return
    with path.open("rb") as stream, closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as data:
        mark = _STARTS.get(data[:2], _PLAIN_START)
        start = 0
        while start >= 0:
            good = start
            try:
                stream.seek(start)
                for record in ArchiveIterator(stream, parse_http=False):
                    good = record.stream_pos
                    if record.record_type in (WarcRecordType.response, WarcRecordType.no_type):
                        yield _response(record, good, limit)
                    elif "Content-Length" not in record.headers:
                        yield _Damage(good, "a record without Content-Length")
                return
            except OSError as error:
                start = data.find(mark, good + 1)
                lost = "" if start >= 0 else f"; the {len(data) - good:,} bytes from here on were not read"
                yield _Damage(good, f"{error}{lost}")


def _response(record: WarcRecord, offset: int, limit: int) -> Response | _Damage:
    declared = record.headers.get("Content-Length")
    url = record.headers.get("WARC-Target-URI") or ""
    if declared is None or not declared.strip().isdigit():
        return _Damage(offset, f"Content-Length is {declared!r}")
    if int(declared) > limit:
        return _Damage(offset, f"{url[:200]} is {int(declared):,} bytes long; max_record_bytes is {limit:,}")
    record.freeze()
    if record.content_length != int(declared):
        return _Damage(offset, f"the record ends after {record.content_length} of {declared} bytes")
    if (record.headers.get("WARC-Block-Digest") or "").startswith("sha1:") and not record.verify_block_digest():
        return _Damage(offset, f"{url} does not agree with its WARC-Block-Digest")
    try:
        canonical(address := address_of(url.strip("<>")))
    except BadUrl as error:
        return _Damage(offset, f"WARC-Target-URI {url[:200]!r} {error}")
    record.parse_http(auto_decode="none")
    status = record.http_headers.status_code if record.is_http_parsed else None
    if status is None:
        return _Damage(offset, f"{address} holds no HTTP response")
    try:
        payload = decoded_body(record.reader.read(), record.http_headers.to_tuples(), limit)
    except TooLong:
        return _Damage(offset, f"the body of {address} inflates to more than {limit:,} bytes (max_record_bytes)")
    return Response(
        url=address,
        status=status,
        headers=record.http_headers.to_tuples(),
        payload=payload,
        fetched_at=record.record_date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        truncated="WARC-Truncated" in record.headers,
    )
