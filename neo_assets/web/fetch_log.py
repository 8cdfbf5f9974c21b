"""The fetch log: one row for every URL or record that was asked for, whatever became of it.

A source's log lies beside its WARC segments, one Parquet file a segment, and is the only place that knows of dead
links, refusals and damaged records. The content digest and the verdicts of ``raw_crawl`` are computed from it, so that
they are the same whether the crawl ran through or was killed and resumed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pyarrow as pa

from neo_assets.core.fingerprint import MultisetDigest
from neo_assets.core.records import DROPPED, EDITED, Verdict, read_table, rows, verdict_table
from neo_assets.core.stage import Claim
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.web.links import host_of
from neo_assets.web.media import document_suffix

FETCHED = "fetched"
REDIRECT = "redirect"
REFUSED = "training_refused"
"""Outcome of a page whose site says that it is not for training, and is obeyed."""
PAGE_ROBOTS = "page_robots"
"""Outcome of a page that asks, by itself, not to be kept."""

USELESS = ("malformed_record", "bad_row", "empty_text")
"""Outcomes of records of a file that nothing can be made of."""
FAILED = ("timeout", "connection", "bad_response")
"""Outcomes of requests that the site failed to answer."""

SAID_ABOUT_TRAINING = "said about training"
"""Table of the statements of sites about training on their pages, by signal, and what became of the pages."""

LOSSES_BOUNDED = Claim(
    "losses_bounded", "Of no file, and of no crawl's requests, more is lost than the recipe allows (max_bad_share)."
)

KEPT_DOCUMENTS = "documents_to_convert"
"""Number of what was kept that is no HTML page but a document to be converted."""

EXAMPLES = 20
"""Failures shown in the report; all of them are in the log."""

LOG = pa.schema(
    [
        ("url", pa.string()),  # canonical, an identity; file#record for what never had a URL
        ("address", pa.string()),  # what was asked for
        ("final_url", pa.string()),  # canonical; where a redirect leads, the URL itself otherwise
        ("doc_id", pa.string()),
        ("status", pa.int32()),  # HTTP status, null when there was no answer
        ("outcome", pa.string()),
        ("reason", pa.string()),  # in words; of what was fetched, what was repaired in it
        ("depth", pa.int32()),  # links away from a seed
        ("bytes", pa.int64()),  # payload that was kept
        ("truncated", pa.bool_()),
        ("content_type", pa.string()),
        ("payload_digest", pa.string()),  # "" when no payload was kept
        ("fetched_at", pa.string()),  # RFC 3339, UTC
        ("said", pa.string()),  # about training, in the site's words, one statement a line; "" when nothing
        ("links", pa.list_(pa.string())),  # addresses that a page which was not kept leads to
        ("file", pa.string()),  # of a source's files, the one it stands in; "" for what was crawled
        ("place", pa.int64()),  # there: byte (of what is unpacked, where it is one stream) or record, from 0
        ("lost_bytes", pa.int64()),  # of that file, not read because of this row
        ("alias", pa.string()),  # what others call it
    ]
)


@dataclass(frozen=True, slots=True)
class LogRow:
    """What became of one URL or record; fields as in :data:`LOG`."""

    url: str
    final_url: str
    doc_id: str
    outcome: str
    reason: str = ""
    status: int | None = None
    depth: int = 0
    bytes: int = 0
    truncated: bool = False
    content_type: str = ""
    payload_digest: str = ""
    fetched_at: str = ""
    said: str = ""
    links: list[str] = field(default_factory=list)
    address: str = ""
    file: str = ""
    place: int = 0
    lost_bytes: int = 0
    alias: str = ""


def now() -> str:
    """This moment as RFC 3339 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def storable(text: str) -> str:
    """Text as it can stand in a Parquet string column: lone surrogates and NUL become ``?`` and U+FFFD."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def log_table(entries: Iterable[LogRow]) -> pa.Table:
    """Log rows as an Arrow table in URL order."""
    ordered = sorted(entries, key=lambda r: (r.url, r.doc_id))
    return pa.table({f.name: [getattr(r, f.name) for r in ordered] for f in fields(LogRow)}).select(LOG.names).cast(LOG)


def read_log(path: Path) -> list[LogRow]:
    return [LogRow(**row) for row in rows(read_table(path, LOG))]  # type: ignore[arg-type]


def stage_key(stage: str, inputs: Mapping[str, Artifact]) -> str:
    """Key of the artifact that ``stage`` makes of its one input: ``raw_crawl/x`` from ``sources/x``."""
    (artifact,) = inputs.values()
    return f"{stage}/{artifact.key.partition('/')[2]}"


def log_outcome(
    stage: str,
    out: Workspace,
    log_files: Iterable[Path],
    numbers: Mapping[str, int | float],
    max_bad_share: float,
    sizes: Mapping[str, int] | None = None,
) -> Outcome:
    """Write ``verdicts.parquet`` from a finished log, and report on it. ``sizes``: bytes by file, of a source of files.

    The digest covers canonical URL, outcome, status and payload: no times, ports or order.
    """
    entries = [row for path in log_files for row in read_log(path)]
    digest = MultisetDigest()
    for row in entries:
        digest.add_row([row.url, row.outcome, row.status, row.payload_digest])
    targets = {row.url: row for row in entries if row.outcome in (FETCHED, REDIRECT)}
    verdicts = [_verdict(stage, row, targets) for row in entries]
    out.write("verdicts.parquet", verdict_table(verdicts))
    documents = sum(r.outcome == FETCHED and bool(document_suffix(r.content_type)) for r in entries)
    kept = sum(v.verdict != DROPPED for v in verdicts)
    outcomes = Counter(row.outcome for row in entries)
    per_outcome: list[Row] = [
        {"outcome": name, "count": count, "share": round(count / len(entries), 4)}
        for name, count in sorted(outcomes.items(), key=lambda i: (-i[1], i[0]))
    ]
    failed = sorted((row for row in entries if row.outcome not in (FETCHED, REDIRECT)), key=lambda row: row.url)
    examples: list[Row] = [
        {"url": row.url, "outcome": row.outcome, "reason": row.reason[:200]} for row in failed[:EXAMPLES]
    ]
    about_training = _about_training(entries)
    first = f"; the first: {failed[0].url}: {failed[0].reason}"[:300] if failed else ""
    dropped = sum(v.verdict == DROPPED for v in verdicts)
    return Outcome(
        digest=digest.hexdigest(),
        rows_in=len(entries),
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={
            "pages": kept,
            **({KEPT_DOCUMENTS: documents} if documents else {}),
            "bytes": sum(r.bytes for r in entries),
            **numbers,
        },
        tables={
            "outcomes": per_outcome,
            "not_fetched": examples,
            **({SAID_ABOUT_TRAINING: about_training} if about_training else {}),
        },
        checks=[
            _losses(entries, max_bad_share, sizes),
            Check(
                name="rows_balance",
                passed=len(entries) == kept + dropped,
                detail=f"{len(entries)} asked for = {kept} kept + {dropped} dropped",
            ),
            Check(
                name="not_empty",
                passed=kept > 0,
                detail=f"{kept} documents kept"
                if kept
                else f"not one document was kept; outcomes: {dict(outcomes)}{first}",
            ),
        ],
    )


def _about_training(entries: Sequence[LogRow]) -> list[Row]:
    """What sites said about training, by signal and by what became of the page."""
    said = Counter(
        (
            line.partition(":")[0],
            "refused" if row.outcome == REFUSED else "kept" if row.outcome == FETCHED else "not kept",
        )
        for row in entries
        for line in dict.fromkeys(row.said.split("\n"))
        if line
    )
    return [{"signal": signal, "pages": fate, "count": count} for (signal, fate), count in sorted(said.items())]


def _losses(entries: Sequence[LogRow], bound: float, sizes: Mapping[str, int] | None) -> Check:
    """Whether what was lost stays within the bound: file by file, or over the requests of a crawl."""
    if sizes is None:
        answered = {host_of(row.address) for row in entries if row.status is not None}
        asked = [row for row in entries if row.status is not None or row.outcome in FAILED]
        asked = [row for row in asked if host_of(row.address) in answered]
        failed = [row for row in asked if row.outcome in FAILED or (row.status or 0) >= 500]
        share = len(failed) / max(len(asked), 1)
        first = f"; the first: {failed[0].address}: {failed[0].reason}"[:300] if failed else ""
        told = f"{len(failed)} of {len(asked)} requests failed ({share:.1%}, allowed {bound:.1%}){first}"
        return Check(name=LOSSES_BOUNDED.name, passed=share <= bound, detail=told)
    rows, bad, lost = Counter[str](), Counter[str](), Counter[str]()
    reasons: dict[str, str] = {}
    for row in entries:
        rows[row.file] += 1
        lost[row.file] += row.lost_bytes
        if row.outcome in USELESS:
            bad[row.file] += 1
            reasons.setdefault(row.file, row.reason)
    over = []
    for file in sorted(reasons):
        for count, of, what in ((bad[file], rows[file], "records"), (lost[file], sizes.get(file, 0), "bytes")):
            if count > bound * of:
                how_much = f"{count:,} of {of:,} {what} ({count / max(of, 1):.1%})"
                over.append(f"{file}: {how_much}; the first: {reasons[file][:200]}")
    told = f"at most {bound:.1%} of the records and bytes of each of {len(sizes)} files"
    if over:
        files = len({line.partition(":")[0] for line in over})
        told = f"more than {bound:.1%} (max_bad_share of the source) of {files} of {len(sizes)} files is lost. "
        told += "; ".join(over[:EXAMPLES])
    return Check(name=LOSSES_BOUNDED.name, passed=not over, detail=told)


def _verdict(stage: str, row: LogRow, targets: Mapping[str, LogRow]) -> Verdict:
    if row.outcome == FETCHED and row.reason:
        return Verdict(row.doc_id, stage, EDITED, "repaired", detail=row.reason)
    if row.outcome == FETCHED:
        return Verdict(row.doc_id, stage)
    if row.outcome != REDIRECT:
        return Verdict(row.doc_id, stage, DROPPED, row.outcome, detail=f"{row.url}: {row.reason}")
    seen, end = {row.url}, row
    while end.outcome == REDIRECT and end.final_url in targets and end.final_url not in seen:
        seen.add(end.final_url)
        end = targets[end.final_url]
    return Verdict(
        row.doc_id,
        stage,
        DROPPED,
        row.outcome,
        twin=end.doc_id if end.outcome == FETCHED else "",
        detail=f"{row.url} leads to {row.final_url}",
    )
