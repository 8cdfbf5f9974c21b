"""Documents to text: PDF with a text layer, scans, EPUB, DOCX, ODT, LaTeX, Markdown and plain text.

Each document is read by a child process with limits. Every page has a row that says by what it is trusted; a
page that is not trusted is left out, with its reason, and never passed on in silence. Finished windows of pages survive
a kill. A document longer than ``part_chars`` is cut into parts between paragraphs: a book is no document that a model
trains on in one piece.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import Convert
from neo_assets.core.recipe.sources import BooksSource, WarcSource
from neo_assets.core.records import (
    DROPPED,
    EDITED,
    VERDICT,
    Verdict,
    document_id,
    files_digest,
    read_table,
    rows,
    verdict_table,
    write_table,
    write_text,
)
from neo_assets.core.shards import run_shards
from neo_assets.core.stage import Claim
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.core.words import counted
from neo_assets.core.words import size as sized
from neo_assets.core.written import SCRATCH
from neo_assets.crawl.stored_pages import StoredDocument, located, stored_documents
from neo_assets.extract.convert.joining import joined_pages
from neo_assets.extract.convert.pages import WINDOW, ConvertedPage, Trust
from neo_assets.extract.convert.run import Failed, converted, is_plain
from neo_assets.extract.page_text import PAGE_TEXT
from neo_assets.web.fetch_log import stage_key, storable

PAGE = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("page", pa.int32()),  # from 1
        ("trusted", pa.bool_()),
        ("reason", pa.string()),  # why not
        ("engine", pa.string()),  # text | ocr | blank | epub | pandoc | plain | none
        ("characters", pa.int64()),
        ("columns", pa.int32()),
        ("agreement", pa.float64()),  # share of the words that two readers have in one order
        ("confidence", pa.float64()),  # of the recogniser
        ("ink_outside", pa.float64()),  # share of the ink in no line that was read
        ("broken", pa.float64()),  # share of broken characters
        ("hyphens_joined", pa.int32()),
        ("formulas", pa.int32()),
        ("left_out", pa.list_(pa.string())),  # headers, footers, page numbers
    ]
)
PAGES_TRUSTED = Claim(
    "pages_trusted",
    "Hardly any page was left out because nothing tells that it was read right (a warning; max_untrusted).",
    blocking=False,
)
DOCUMENTS_IN_PART = 500
DOCUMENTS_READ = Claim(
    "documents_read", "Something was read, and of the documents no more is unreadable than the source's max_bad_share."
)
UNREADABLE, NO_PAGE = "unreadable", "no_trusted_page"


A_CHILD_IS_WORTH = 2_000_000
"""Bytes of a document that take as long as starting the process which converts it."""


class PdfTextInput(Section):
    """What this stage takes of a recipe: the section ``convert``, and where documents lie that were left in place."""

    convert: Convert
    max_bad_share: float = Field(0.1, description="of the source: share of its documents that may be unreadable")
    in_place: BooksSource | WarcSource | None = Field(None, json_schema_extra=NOT_IDENTITY)


def convert_documents(config: PdfTextInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The text of every document of a crawl, headers and footers out, columns in order, and a row for each page that
    says by what it is trusted.

    Pages that are not trusted are left out, documents without a trusted page are dropped, each with its reason. Long
    documents are cut into parts.
    """
    (crawl,) = inputs.values()
    stage = stage_key("pdf_text", inputs)
    documents = stored_documents(crawl, config.in_place)
    groups: dict[str, list[StoredDocument]] = {}
    for document in documents:
        groups.setdefault(document.part.name if document.part else document.doc_id, []).append(document)
    out.log(f"{counted(len(documents), 'document')}, {sized(sum(d.size for d in documents))}")
    children = sum(not is_plain(d.suffix, d.size) for d in documents)
    run_shards(
        partial(_convert_group, config.convert, stage, out.path),
        list(groups.values()),
        out,
        writes=partial(_converted, out.path),
        input_bytes=sum(d.size for d in documents) + children * A_CHILD_IS_WORTH,
    )
    verdicts = [
        Verdict(**row)  # type: ignore[arg-type]
        for d in documents
        for row in rows(read_table(_file(out.path, "verdicts", d), VERDICT))
    ]
    out.write("verdicts.parquet", verdict_table(verdicts))
    texts, tables = [], []
    for begin in range(0, max(len(documents), 1), DOCUMENTS_IN_PART):
        chosen = documents[begin : begin + DOCUMENTS_IN_PART]
        name = f"part-documents-{begin // DOCUMENTS_IN_PART:05d}.parquet"
        tables.append(out.write(f"pages/{name}", _joined(out.path, "pages", chosen, PAGE)))
        texts.append(out.write(f"text/{name}", _joined(out.path, "text", chosen, PAGE_TEXT).sort_by("doc_id")))
    pages = pa.concat_tables(read_table(path, PAGE) for path in tables)
    parts = sum(v.verdict != DROPPED for v in verdicts)
    dropped = len(verdicts) - parts
    made = len(documents) - dropped
    trusted = sum(pages["trusted"].to_pylist())
    untrusted = 1 - trusted / max(1, pages.num_rows)
    first = next((r for r in pages.to_pylist() if not r["trusted"]), None)
    named = f"; the first: {first['url']} page {first['page']}: {first['reason']}" if first else ""
    return Outcome(
        digest=files_digest(texts),
        rows_in=len(verdicts),
        rows_kept=parts,
        rows_dropped=dropped,
        numbers={
            "documents": len(documents),
            "pages": pages.num_rows,
            "pages_trusted": trusted,
            "characters": sum(pages["characters"].to_pylist()),
            "formulas": sum(pages["formulas"].to_pylist()),
            "hyphens_joined": sum(pages["hyphens_joined"].to_pylist()),
        },
        tables=_told(pages, verdicts),
        checks=[
            Check(
                name="rows_balance",
                passed=made + dropped == len(documents) and parts >= made,
                detail=f"{len(documents)} documents = {made} converted, in {parts} parts, + {dropped} dropped",
            ),
            _documents_read(verdicts, len(documents), parts, config.max_bad_share),
            Check(
                name=PAGES_TRUSTED.name,
                passed=untrusted <= config.convert.max_untrusted,
                detail=f"{trusted} of {pages.num_rows} pages (may miss {config.convert.max_untrusted:.0%}){named}",
                blocking=False,
            ),
        ],
    )


def _documents_read(verdicts: Sequence[Verdict], documents: int, parts: int, bound: float) -> Check:
    lost = [v for v in verdicts if v.rule == UNREADABLE]
    share = len(lost) / max(1, documents)
    first = f"; the first: {lost[0].detail}"[:300] if lost else ""
    told = f"{len(lost)} of {documents} documents are unreadable ({share:.1%}, allowed {bound:.1%})"
    nothing = "; no text came of any" if documents and not parts else ""
    return Check(
        name=DOCUMENTS_READ.name,
        passed=share <= bound and not nothing,
        detail=f"{told}{nothing}{first}",
    )


def _told(pages: pa.Table, verdicts: Sequence[Verdict]) -> dict[str, list[Row]]:
    told = pages.to_pylist()
    engines = Counter((r["engine"], r["trusted"]) for r in told)
    reasons = Counter(_kind(r["reason"]) for r in told if not r["trusted"])
    agreed = [r["agreement"] for r in told if r["agreement"] is not None]
    counts, edges = np.histogram(agreed, [0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0001])
    dropped = Counter(v.rule for v in verdicts if v.verdict == DROPPED)
    return {
        "pages by engine": [{"engine": e, "trusted": t, "pages": n} for (e, t), n in sorted(engines.items())],
        "pages left out": [{"reason": reason, "pages": n} for reason, n in reasons.most_common()],
        "agreement of two readers": [
            {"from": round(float(a), 2), "to": min(1.0, round(float(b), 2)), "pages": int(n)}
            for (a, b), n in zip(itertools.pairwise(edges), counts, strict=True)
        ],
        "dropped": [{"rule": rule, "documents": n} for rule, n in sorted(dropped.items())],
    }


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    return "".join("#" if c.isdigit() else c for c in reason).replace("##", "#").replace("##", "#")


def _file(folder: Path, kind: str, document: StoredDocument) -> Path:
    """What one document gave, until all are put together."""
    return folder / ".logs" / kind / f"{document.doc_id}.parquet"


def _joined(folder: Path, kind: str, documents: Sequence[StoredDocument], schema: pa.Schema) -> pa.Table:
    tables = [read_table(_file(folder, kind, d), schema) for d in documents]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _convert_group(config: Convert, stage: str, folder: Path, group: Sequence[StoredDocument]) -> None:
    """Documents that lie in one file, or one that is a file."""
    left = [document for document in group if not _file(folder, "text", document).is_file()]
    for document, path in located(left, folder / ".logs" / "documents"):
        _convert(config, stage, folder, document, path)
    write_text(_converted(folder, group), "")


def _converted(folder: Path, group: Sequence[StoredDocument]) -> Path:
    """Says that all documents of a group are converted."""
    return folder / SCRATCH / "groups" / group[0].doc_id


def _convert(config: Convert, stage: str, folder: Path, document: StoredDocument, path: Path) -> None:
    """One document to its text, pages and verdicts; the text is written last, so that what has one has all."""
    trust = Trust(**config.model_dump(include=set(Trust.model_fields)))
    failed: Failed | None = None
    pages: list[ConvertedPage] = []
    for found in _resumed(folder / ".logs" / "converted" / f"{document.doc_id}.jsonl", path, document.suffix, trust):
        if isinstance(found, Failed):
            failed = found
        else:
            pages.append(found)
    trusted = [page for page in pages if not page.reason and page.text.strip()]
    parts = list(_parts(joined_pages(trusted), config.part_chars))
    left = [page for page in pages if page.reason]
    verdicts = list(_verdicts(stage, document, parts, pages, left, failed))
    write_table(verdict_table(verdicts), _file(folder, "verdicts", document))
    write_table(
        pa.Table.from_pylist([_page_row(document, page) for page in pages], schema=PAGE),
        _file(folder, "pages", document),
    )
    texts = [
        {
            "doc_id": _part_id(document, i, part),
            "url": document.url if len(parts) == 1 else f"{document.url}#pages={part.first}-{part.last}",
            "title": storable(Path(document.url).stem),
            "text": storable(part.text),
            "fetched_at": document.fetched_at,
            "kept_share": None,
        }
        for i, part in enumerate(parts)
    ]
    texts.sort(key=lambda row: str(row["doc_id"]))
    write_table(pa.Table.from_pylist(texts, schema=PAGE_TEXT), _file(folder, "text", document))


def _resumed(held: Path, path: Path, suffix: str, trust: Trust) -> Iterator[ConvertedPage | Failed]:
    """Pages of a document: those of whole windows that were finished before a kill, and the rest."""
    held.parent.mkdir(parents=True, exist_ok=True)
    known = {field.name for field in fields(ConvertedPage)}
    done: list[ConvertedPage] = []
    if held.is_file():
        for line in held.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break  # the line that was being written
            if set(row) != known:
                break
            done.append(ConvertedPage(**row))
    done = done[: len(done) // WINDOW * WINDOW]
    held.write_text("".join(json.dumps(page.row(), ensure_ascii=False) + "\n" for page in done), encoding="utf-8")
    yield from done
    with held.open("a", encoding="utf-8") as stream:
        for found in converted(path, suffix, trust, first=len(done)):
            if isinstance(found, ConvertedPage):
                stream.write(json.dumps(found.row(), ensure_ascii=False) + "\n")
                stream.flush()
            yield found


@dataclass(frozen=True)
class _Part:
    text: str
    first: int
    last: int


def _parts(paragraphs: Sequence[tuple[str, int]], length: int) -> Iterator[_Part]:
    """Paragraphs (text, page) in parts of about ``length`` characters; the last is not much shorter than the others."""
    total = sum(len(text) + 1 for text, _ in paragraphs)
    count = max(1, round(total / length))
    target, held, size, made = total / count, list[tuple[str, int]](), 0, 0
    for text, page in paragraphs:
        held.append((text, page))
        size += len(text) + 1
        if size >= target * (made + 1) - 0.5 and made + 1 < count:
            yield _Part("\n".join(t for t, _ in held), held[0][1] + 1, held[-1][1] + 1)
            held, made = [], made + 1
    if held:
        yield _Part("\n".join(t for t, _ in held), held[0][1] + 1, held[-1][1] + 1)


def _part_id(document: StoredDocument, i: int, part: _Part) -> str:
    """The first part has the document's own id, by which it is found from the crawl on."""
    return document.doc_id if i == 0 else document_id(f"{document.url}#{i}", part.text.encode("utf-8", "replace"))


def _verdicts(
    stage: str,
    document: StoredDocument,
    parts: Sequence[_Part],
    pages: Sequence[ConvertedPage],
    left: Sequence[ConvertedPage],
    failed: Failed | None,
) -> Iterator[Verdict]:
    told = [f"page {page.page + 1}: {page.reason}" for page in left[:5]]
    told += [f"and {len(left) - 5} pages more"] if len(left) > 5 else []
    told += [f"nothing after page {len(pages)}: {failed.reason}"] if failed and pages else []
    detail = "; ".join(told)
    if not parts:
        rule = UNREADABLE if failed and not pages else NO_PAGE
        reason = failed.reason if failed and not pages else detail or "there is no text in it"
        yield Verdict(document.doc_id, stage, DROPPED, rule, detail=f"{document.url}: {reason}")
        return
    for i, part in enumerate(parts):
        where = f"{document.url}, pages {part.first} to {part.last}"
        doc_id = _part_id(document, i, part)
        if i == 0 and (detail or len(parts) > 1):
            rule = "pages_left_out" if detail else "cut_into_parts"
            many = f"{len(parts)} parts of it; " if len(parts) > 1 else ""
            yield Verdict(doc_id, stage, EDITED, rule, detail=f"{many}{detail or where}")
        else:
            yield Verdict(doc_id, stage, detail=where)


def _page_row(document: StoredDocument, page: ConvertedPage) -> dict[str, object]:
    row = page.row()
    return {
        **{name: row[name] for name in PAGE.names if name in row},
        "doc_id": document.doc_id,
        "url": document.url,
        "page": page.page + 1,
        "trusted": not page.reason,
        "reason": storable(page.reason),
        "characters": len(page.text),
        "left_out": [storable(line) for line in page.left_out],
    }
