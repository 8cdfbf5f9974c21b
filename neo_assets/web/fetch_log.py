"""The fetch log: one row for every URL or record that was asked for, whatever became of it.

A source's log lies beside its WARC segments, one Parquet file a segment, and is the only place that knows of dead
links, refusals and damaged records. The content digest and the verdicts of ``raw_crawl`` are computed from it, so that
they are the same whether the crawl ran through or was killed and resumed.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core.fingerprint import MultisetDigest
from neo_assets.core.records import DROPPED, EDITED, Verdict, read_table, rows, verdict_table
from neo_assets.core.stage import Claim
from neo_assets.core.steps import VERDICTS, write_verdicts
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.web.links import host_of
from neo_assets.web.media import document_suffix

FETCHED = "fetched"
REDIRECT = "redirect"
REFUSED = "training_refused"
"""Outcome of a page whose site says that it is not for training, and is obeyed."""
WITHDRAWN = "withdrawn"
"""Outcome of an address that a tombstone names: nobody asked for it."""
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
    """Write the verdicts of a finished log, a file for each of its files, and report on it. ``sizes``: bytes by file,
    of a source of files. One file of the log is in memory at a time; besides, what hosts, files and redirects there
    are.

    The digest covers canonical URL, outcome, status and payload: no times, ports or order.
    """
    files = list(log_files)
    ends, told, verdicts = redirect_ends(files), _Told(), Counter[str]()
    for path in files:
        entries = read_log(path)
        table = verdict_table(_verdict(stage, row, ends) for row in entries)
        write_verdicts(table, out.path / VERDICTS / path.name)
        verdicts.update(table["verdict"].to_pylist())
        told.add(entries)
    dropped = verdicts[DROPPED]
    kept = verdicts.total() - dropped
    per_outcome: list[Row] = [
        {"outcome": name, "count": count, "share": round(count / told.rows, 4)}
        for name, count in sorted(told.outcomes.items(), key=lambda i: (-i[1], i[0]))
    ]
    examples: list[Row] = [
        {"url": row.url, "outcome": row.outcome, "reason": row.reason[:200]} for row in told.not_fetched
    ]
    first = f"; the first: {told.not_fetched[0].url}: {told.not_fetched[0].reason}"[:300] if told.not_fetched else ""
    return Outcome(
        digest=told.digest.hexdigest(),
        rows_in=told.rows,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={
            "pages": kept,
            **({KEPT_DOCUMENTS: told.documents} if told.documents else {}),
            "bytes": told.bytes,
            **numbers,
        },
        tables={
            "outcomes": per_outcome,
            "not_fetched": examples,
            **({SAID_ABOUT_TRAINING: about} if (about := told.about_training()) else {}),
        },
        checks=[
            told.losses(max_bad_share, sizes),
            Check(
                name="rows_balance",
                passed=told.rows == kept + dropped,
                detail=f"{told.rows} asked for = {kept} kept + {dropped} dropped",
            ),
            Check(
                name="not_empty",
                passed=kept > 0,
                detail=f"{kept} documents kept"
                if kept
                else f"not one document was kept; outcomes: {dict(told.outcomes)}{first}",
            ),
        ],
    )


def redirect_ends(files: Sequence[Path]) -> dict[str, str]:
    """Of every address that redirects, the document that it ends at, if that was fetched, or ""."""
    leads: dict[str, str] = {}
    for path in files:
        table = read_table(path, columns=["url", "outcome", "final_url"])
        table = table.filter(pc.equal(table["outcome"], REDIRECT))
        leads |= dict(zip(table["url"].to_pylist(), table["final_url"].to_pylist(), strict=True))
    last = {url: _end_of(url, leads) for url in leads}
    wanted, ids = pa.array(sorted(set(last.values())), pa.string()), dict[str, str]()
    for path in files if leads else ():
        table = read_table(path, columns=["url", "outcome", "doc_id"])
        table = table.filter(pc.and_(pc.equal(table["outcome"], FETCHED), pc.is_in(table["url"], wanted)))
        ids |= dict(zip(table["url"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    return {url: ids.get(end, "") for url, end in last.items()}


def _end_of(url: str, leads: Mapping[str, str]) -> str:
    seen = {url}
    while url in leads and leads[url] not in seen:
        url = leads[url]
        seen.add(url)
    return url


class _Told:
    """What the rows of a log add up to."""

    def __init__(self) -> None:
        self.rows = self.bytes = self.documents = 0
        self.digest = MultisetDigest()
        self.outcomes: Counter[str] = Counter()
        self.not_fetched: list[LogRow] = []  # the first of them by URL
        self._said: Counter[tuple[str, str]] = Counter()
        self._answered: set[str] = set()  # hosts
        self._asked, self._failed = Counter[str](), Counter[str]()  # by host
        self._first: dict[str, LogRow] = {}  # failure of each host
        self._records, self._bad, self._lost = Counter[str](), Counter[str](), Counter[str]()  # by file
        self._reasons: dict[str, str] = {}

    def add(self, entries: Sequence[LogRow]) -> None:
        """Count the rows of one file of the log."""
        for row in entries:
            self.rows += 1
            self.bytes += row.bytes
            self.digest.add_row([row.url, row.outcome, row.status, row.payload_digest])
            self.outcomes[row.outcome] += 1
            self.documents += row.outcome == FETCHED and bool(document_suffix(row.content_type))
            self._hear(row)
            self._count_loss(row)
        failed = [*self.not_fetched, *(row for row in entries if row.outcome not in (FETCHED, REDIRECT))]
        self.not_fetched = heapq.nsmallest(EXAMPLES, failed, key=lambda row: row.url)

    def _hear(self, row: LogRow) -> None:
        for line in dict.fromkeys(row.said.split("\n")):
            if line:
                fate = "refused" if row.outcome == REFUSED else "kept" if row.outcome == FETCHED else "not kept"
                self._said[line.partition(":")[0], fate] += 1

    def _count_loss(self, row: LogRow) -> None:
        if row.status is not None or row.outcome in FAILED:
            host = host_of(row.address)
            self._asked[host] += 1
            if row.status is not None:
                self._answered.add(host)
            if row.outcome in FAILED or (row.status or 0) >= 500:
                self._failed[host] += 1
                self._first.setdefault(host, row)
        self._records[row.file] += 1
        self._lost[row.file] += row.lost_bytes
        if row.outcome in USELESS:
            self._bad[row.file] += 1
            self._reasons.setdefault(row.file, row.reason)

    def about_training(self) -> list[Row]:
        """What sites said about training, by signal and by what became of the page."""
        return [
            {"signal": signal, "pages": fate, "count": count} for (signal, fate), count in sorted(self._said.items())
        ]

    def losses(self, bound: float, sizes: Mapping[str, int] | None) -> Check:
        """Whether what was lost stays within the bound: file by file, or over the requests of a crawl."""
        return self._requests(bound) if sizes is None else self._files(bound, sizes)

    def _requests(self, bound: float) -> Check:
        """Of hosts that answered at all: others are told elsewhere."""
        asked = sum(self._asked[host] for host in self._answered)
        failed = sum(self._failed[host] for host in self._answered)
        share = failed / max(asked, 1)
        worst = next((row for host, row in self._first.items() if host in self._answered), None)
        first = f"; the first: {worst.address}: {worst.reason}"[:300] if worst else ""
        told = f"{failed} of {asked} requests failed ({share:.1%}, allowed {bound:.1%}){first}"
        return Check(name=LOSSES_BOUNDED.name, passed=share <= bound, detail=told)

    def _files(self, bound: float, sizes: Mapping[str, int]) -> Check:
        over = []
        for file in sorted(self._reasons):
            for count, of, what in (
                (self._bad[file], self._records[file], "records"),
                (self._lost[file], sizes.get(file, 0), "bytes"),
            ):
                if count > bound * of:
                    how_much = f"{count:,} of {of:,} {what} ({count / max(of, 1):.1%})"
                    over.append(f"{file}: {how_much}; the first: {self._reasons[file][:200]}")
        told = f"at most {bound:.1%} of the records and bytes of each of {len(sizes)} files"
        if over:
            files = len({line.partition(":")[0] for line in over})
            told = f"more than {bound:.1%} (max_bad_share of the source) of {files} of {len(sizes)} files is lost. "
            told += "; ".join(over[:EXAMPLES])
        return Check(name=LOSSES_BOUNDED.name, passed=not over, detail=told)


def _verdict(stage: str, row: LogRow, ends: Mapping[str, str]) -> Verdict:
    if row.outcome == FETCHED and row.reason:
        return Verdict(row.doc_id, stage, EDITED, "repaired", detail=row.reason)
    if row.outcome == FETCHED:
        return Verdict(row.doc_id, stage)
    if row.outcome != REDIRECT:
        return Verdict(row.doc_id, stage, DROPPED, row.outcome, detail=f"{row.url}: {row.reason}")
    detail = f"{row.url} leads to {row.final_url}"
    return Verdict(row.doc_id, stage, DROPPED, row.outcome, twin=ends[row.url], detail=detail)
