"""Documents of one source: text repaired, language identified, one row each in the form every later stage reads.

One input shard becomes one output shard. Language is told from the whole text, which costs most of this stage's time
(about 2.4 MB/s and core) and spares a sample length that would have to be justified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Documents
from neo_assets.core.records import (
    DOCUMENT,
    DROPPED,
    EDITED,
    VERDICT,
    Verdict,
    read_table,
    rows,
    table_digest,
    verdict_table,
    write_table,
)
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.extract.language import identify
from neo_assets.extract.repair import repaired


class DocumentsInput(Section):
    """What this stage takes of a recipe: the section ``documents``, and the source's name, licence and snapshot."""

    documents: Documents
    source: str
    licence: str
    snapshot: str = Field(description="label of the source's state; a new one makes new documents even of equal pages")


def make_documents(config: DocumentsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Every document of one source with its encoding repaired, its language told and its licence attached.

    A document that occurs twice under one id is kept once; an edited one has a verdict that says so.
    """
    stage = f"documents/{config.source}"
    shards = [path for a in inputs.values() for path in a.files("text/") or a.files("rows/")]
    repeats = _repeats(shards)
    work = [(path, repeats.get(path, frozenset())) for path in shards]
    run_shards(
        partial(_make_shard, config, stage, out.path),
        work,
        workers=out.workers,
        scratch=out.path / ".logs",
        input_bytes=total_bytes(shards),
    )
    verdicts = [Verdict(**row) for path in shards for row in rows(read_table(_verdict_file(out.path, path), VERDICT))]  # type: ignore[arg-type]
    out.write("verdicts.parquet", verdict_table(verdicts))
    made = [read_table(out.path / path.name, DOCUMENT) for path in shards]
    documents, characters = _per_language(made)
    dropped = sum(v.verdict == DROPPED for v in verdicts)
    kept, seen = sum(documents.values()), sum(a.manifest.rows_kept or 0 for a in inputs.values())
    distribution: list[Row] = [
        {"lang": lang, "documents": count, "characters": characters[lang], "share_of_documents": round(count / kept, 4)}
        for lang, count in sorted(documents.items(), key=lambda i: (-i[1], i[0]))
    ]
    return Outcome(
        digest=table_digest(made),
        parts={
            lang: table_digest(table.filter(pc.equal(table["lang"], lang)) for table in made)
            for lang in sorted(documents)
        },
        rows_in=seen,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={
            "documents": kept,
            "characters": sum(characters.values()),
            "repaired": sum(v.verdict == EDITED for v in verdicts),
            "same_document": sum(v.rule == "same_document" for v in verdicts),
        },
        tables={"languages": distribution},
        checks=[
            Check(
                name="rows_balance",
                passed=seen == kept + dropped,
                detail=f"{seen} documents in = {kept} kept + {dropped} dropped",
            )
        ],
    )


def _repeats(shards: list[Path]) -> dict[Path, frozenset[int]]:
    """Row numbers, per shard, of documents whose id occurred before."""
    seen: set[str] = set()
    found: dict[Path, set[int]] = {}
    for path in shards:
        for i, doc_id in enumerate(read_table(path, columns=["doc_id"])["doc_id"].to_pylist()):
            if doc_id in seen:
                found.setdefault(path, set()).add(i)
            seen.add(doc_id)
    return {path: frozenset(numbers) for path, numbers in found.items()}


def _verdict_file(folder: Path, shard: Path) -> Path:
    return folder / "verdicts" / shard.name


def _make_shard(config: DocumentsInput, stage: str, folder: Path, shard: tuple[Path, frozenset[int]]) -> None:
    """One input file to one output file. Its verdicts are written first, so that a finished file always has them."""
    path, repeats = shard
    if (folder / path.name).is_file():
        return
    made: list[dict[str, object]] = []
    verdicts: list[Verdict] = []
    for i, row in enumerate(rows(read_table(path))):
        doc_id, original = str(row["doc_id"]), str(row["text"])
        if i in repeats:
            verdicts.append(Verdict(doc_id, stage, DROPPED, "same_document", twin=doc_id, detail=str(row["url"])))
            continue
        if (size := len(original.encode())) > config.documents.max_text_bytes:
            verdicts.append(
                Verdict(
                    doc_id,
                    stage,
                    DROPPED,
                    "text_too_long",
                    float(size),
                    float(config.documents.max_text_bytes),
                    detail=str(row["url"]),
                )
            )
            continue
        text = repaired(original)
        found = identify(text, config.documents)
        verdicts.append(
            Verdict(doc_id, stage)
            if text == original
            else Verdict(
                doc_id, stage, EDITED, "encoding_repaired", detail=f"{len(original)} -> {len(text)} characters"
            )
        )
        made.append(
            {
                "doc_id": doc_id,
                "text": text,
                "lang": found.lang,
                "lang_score": found.score,
                "script": found.script,
                "url": row["url"],
                "source": config.source,
                "licence": config.licence,
                "title": repaired(str(row["title"] or "")),
                "fetched_at": row["fetched_at"],
                "cluster_id": doc_id,
            }
        )
    write_table(verdict_table(verdicts), _verdict_file(folder, path))
    write_table(pa.Table.from_pylist(sorted(made, key=lambda r: str(r["doc_id"])), schema=DOCUMENT), folder / path.name)


def _per_language(tables: list[pa.Table]) -> tuple[Counter[str], Counter[str]]:
    """(documents, characters) per language."""
    documents: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for table in tables:
        for row in table.select(["lang"]).append_column("chars", pc.utf8_length(table["text"])).to_pylist():
            documents[row["lang"]] += 1
            characters[row["lang"]] += row["chars"]
    return documents, characters
