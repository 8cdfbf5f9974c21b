"""Documents of one source: text repaired, language identified, one row each in the form every later stage reads.

One input shard becomes one output shard. Language is told from the whole text, which costs most of this stage's time
(about 2.4 MB/s and core) and spares a sample length that would have to be justified.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.fingerprint import MultisetDigest
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Documents
from neo_assets.core.records import DOCUMENT, DROPPED, EDITED, Verdict, read_table, rows, verdict_table
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import (
    VERDICTS,
    amounts,
    digest_of,
    read_footer,
    totals,
    write_part,
    write_verdicts,
)
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
    repeats = repeated(shards)
    work = [(path, repeats.get(path, frozenset())) for path in shards]
    run_shards(
        partial(_make_shard, config, stage, out.path),
        work,
        out,
        writes=lambda shard: out.path / shard[0].name,
        input_bytes=total_bytes(shards),
    )
    made = [out.path / path.name for path in shards]
    found = totals(made, [out.path / VERDICTS / path.name for path in shards])
    languages, held = _digests(made), amounts(made)
    kept, dropped = found.rows, found.count(DROPPED)
    seen = sum(a.manifest.rows_kept or 0 for a in inputs.values())
    characters = {lang: held[lang, config.source].characters for lang in languages}
    distribution: list[Row] = [
        {
            "lang": lang,
            "documents": digest.count,
            "characters": characters[lang],
            "share_of_documents": round(digest.count / kept, 4),
        }
        for lang, digest in sorted(languages.items(), key=lambda i: (-i[1].count, i[0]))
    ]
    return Outcome(
        digest=found.digest,
        parts={lang: languages[lang].hexdigest() for lang in sorted(languages)},
        rows_in=seen,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={
            "documents": kept,
            "characters": sum(characters.values()),
            "repaired": found.count(EDITED),
            "same_document": found.of_rule("same_document"),
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


def repeated(shards: Sequence[Path]) -> dict[Path, frozenset[int]]:
    """Row numbers, per shard, of documents whose id occurred before. Memory: about 40 bytes a document."""
    ids = [records.halves(read_table(path, columns=["doc_id"])["doc_id"]) for path in shards]
    if not ids:
        return {}
    high, low = (np.concatenate([pair[i] for pair in ids]) for i in (0, 1))
    ends = np.cumsum([len(pair[0]) for pair in ids])
    del ids
    order = np.lexsort((low, high))  # stable: of equal ids the first one comes first
    again = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
    found: dict[Path, set[int]] = defaultdict(set)
    for number in order[1:][again].tolist():
        shard = int(np.searchsorted(ends, number, side="right"))
        found[shards[shard]].add(number - int(ends[shard - 1] if shard else 0))
    return {path: frozenset(numbers) for path, numbers in found.items()}


def _digests(parts: Sequence[Path]) -> dict[str, MultisetDigest]:
    """What the footers of the files say of each language's rows."""
    out: dict[str, MultisetDigest] = defaultdict(MultisetDigest)
    for path in parts:
        for lang, (count, total) in read_footer(path)["languages"].items():
            out[lang].add_sum(count, int(total))
    return out


def _make_shard(config: DocumentsInput, stage: str, folder: Path, shard: tuple[Path, frozenset[int]]) -> None:
    """One input file to one output file. Its verdicts are written first, so that a finished file always has them."""
    path, repeats = shard
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
    write_verdicts(verdict_table(verdicts), folder / VERDICTS / path.name)
    table = pa.Table.from_pylist(sorted(made, key=lambda r: str(r["doc_id"])), schema=DOCUMENT)
    langs = [lang.as_py() for lang in pc.unique(table["lang"])]
    digests = {lang: digest_of(table.filter(pc.equal(table["lang"], lang))) for lang in sorted(langs)}
    languages = {lang: [digest.count, str(digest.total)] for lang, digest in digests.items()}
    write_part(table, folder / path.name, {"languages": languages})
