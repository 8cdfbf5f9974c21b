"""A crawl of given pages and documents of given texts, as artifacts of a real store."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from neo_assets.core.recipe.data import Documents
from neo_assets.core.records import document_id, read_table, rows, write_table
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Store, Workspace, input_refs
from neo_assets.crawl.documents_source import ROW
from neo_assets.extract.documents import DocumentsInput, make_documents
from neo_assets.web.fetch_log import FETCHED, LogRow, log_table
from neo_assets.web.links import canonical
from neo_assets.web.warc_files import Response, SegmentWriter

MOMENT = "2024-05-30T00:00:00Z"
DOCUMENTS = Documents(max_text_bytes=1_000_000, min_lang_chars=20, han_share_zh=0.3, kana_share_ja=0.05)
INPUT = DocumentsInput(documents=DOCUMENTS, source="test", licence="CC0-1.0", snapshot="1")


def commit(
    store: Path, key: str, work: object, inputs: Mapping[str, Artifact] | None = None, label: str = ""
) -> Artifact:
    """Build ``key`` with the function ``work`` in a store; ``label`` tells apart what else would
    have one fingerprint.
    """
    made_from = MadeFrom(config={"label": label}, code={}, libraries={}, inputs=input_refs(inputs or {}, {}))
    return Store(store).build(key, made_from, work)[0]  # type: ignore[arg-type]


def crawled(store: Path, segments: list[dict[str, tuple[bytes, str]]]) -> Artifact:
    """``raw_crawl/test`` of URL -> (payload, content type), one WARC segment and its log for each mapping."""

    def work(out: Workspace) -> Outcome:
        for i, pages in enumerate(segments):
            writer = SegmentWriter(out.path / f"warc/part-{i:05d}.warc.gz", "test")
            log = []
            for url, (payload, content_type) in pages.items():
                writer.add(Response(url, 200, [("Content-Type", content_type)], payload, MOMENT))
                plain = canonical(url)
                log.append(LogRow(plain, plain, document_id(plain, payload), FETCHED, content_type=content_type))
            writer.finish()
            write_table(log_table(log), out.path / f"log/part-{i:05d}.parquet")
        return Outcome(
            digest="d", rows_kept=sum(map(len, segments)), checks=[Check(name="rows_balance", passed=True, detail="")]
        )

    return commit(store, "raw_crawl/test", work)


def given(store: Path, shards: list[list[tuple[str, str]]], label: str = "") -> Artifact:
    """``raw_crawl/test`` of (URL, text), one Parquet shard for each list."""

    def work(out: Workspace) -> Outcome:
        for i, texts in enumerate(shards):
            rows = [
                {"doc_id": document_id(url, text.encode()), "text": text, "url": url, "title": "", "fetched_at": MOMENT}
                for url, text in texts
            ]
            out.write(f"rows/part-{i:05d}.parquet", pa.Table.from_pylist(rows, schema=ROW))
        return Outcome(
            digest=f"d{label}",
            rows_kept=sum(map(len, shards)),
            checks=[Check(name="rows_balance", passed=True, detail="")],
        )

    return commit(store, "raw_crawl/test", work, label=label)


def documents(store: Path, upstream: Artifact, config: DocumentsInput = INPUT, label: str = "") -> Artifact:
    inputs = {"raw_crawl": upstream}
    return commit(store, "documents/test", lambda out: make_documents(config, inputs, out), inputs, label)


def verdicts_of(made: Artifact) -> list[dict[str, object]]:
    """What was decided about each document."""
    return [row for path in made.verdicts() for row in rows(read_table(path))]
