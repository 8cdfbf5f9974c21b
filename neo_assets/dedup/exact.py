"""``exact_dedup/‹lang›``: one document per text."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.base import Section
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, Outcome, Workspace


class ExactDedupInput(Section):
    lang: str


def drop_exact_duplicates(config: ExactDedupInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents whose text no other document has. Of equal texts the one with the smallest id stays; the others name it as their twin."""
    stage = f"exact_dedup/{config.lang}"
    (cleaned,) = inputs.values()
    files = cleaned.files("part-")
    first: dict[str, str] = {}
    texts: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in files:
        for row in records.rows(records.read_table(path, records.DOCUMENT, ["doc_id", "text", "source"])):
            doc_id, content = str(row["doc_id"]), digest_bytes(str(row["text"]).encode())
            texts[doc_id], sources[doc_id] = content, str(row["source"])
            first[content] = min(first.get(content, doc_id), doc_id)
    verdicts = [
        Verdict(doc_id, stage, source=sources[doc_id]) if first[content] == doc_id else Verdict(doc_id, stage, DROPPED, "same_text", 1.0, 1.0, first[content], sources[doc_id])
        for doc_id, content in texts.items()
    ]
    survivors = pa.array(sorted(first.values()), pa.string())
    for path in files:
        table = records.read_table(path, records.DOCUMENT)
        out.write(path.name, table.filter(pc.is_in(table.column("doc_id"), value_set=survivors)))
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    written = sorted(out.path.glob("part-*.parquet"))
    kept = sum(records.read_table(p, columns=["doc_id"]).num_rows for p in written)
    dropped = sum(v.verdict == DROPPED for v in verdicts)
    return Outcome(
        digest=records.files_digest(written),
        rows_in=len(verdicts),
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={"duplicate_share": round(dropped / max(1, len(verdicts)), 4)},
        checks=[Check(name="rows_balance", passed=kept + dropped == len(verdicts), detail=f"{len(verdicts)} in = {kept} kept + {dropped} dropped")],
    )
