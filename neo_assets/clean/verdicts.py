"""From signals and thresholds to verdicts: one row per document, naming the first rule that it broke.

A rule is a name, a signal, and the recipe field that bounds it. Rules are tried in order and the first broken one is recorded; all values
are in ``signals``, so what another order or threshold would have said can always be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, Outcome, Workspace


@dataclass(frozen=True)
class Rule:
    """Keep a document when ``signal`` is at least / at most the threshold in the recipe field of the rule's name."""

    field: str
    signal: str
    keeps: Literal["at_least", "at_most"]

    def broken_by(self, value: float, threshold: float) -> bool:
        return value < threshold if self.keeps == "at_least" else value > threshold


def judge(lang: str, rules: Sequence[Rule], thresholds: Section, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Apply ``rules`` to one language's documents of all sources. ``inputs`` holds ``documents/‹source›`` and ``signals/‹source›``."""
    stage = f"clean_docs/{lang}"
    limits = {rule.field: float(getattr(thresholds, rule.field)) for rule in rules}
    verdicts: list[Verdict] = []
    by_rule: Counter[str] = Counter()
    for source in sorted(name.split("/", 1)[1] for name in inputs if name.startswith("documents/")):
        broken: dict[str, tuple[Rule, float]] = {}
        seen: set[str] = set()
        for path in inputs[f"signals/{source}"].files(f"{lang}/part-"):
            for row in records.rows(records.read_table(path)):
                doc_id = str(row["doc_id"])
                seen.add(doc_id)
                for rule in rules:
                    value = float(str(row[rule.signal]))
                    if rule.broken_by(value, limits[rule.field]):
                        broken[doc_id] = (rule, value)
                        break
        for doc_id in sorted(seen):
            if doc_id in broken:
                rule, value = broken[doc_id]
                by_rule[rule.field] += 1
                verdicts.append(Verdict(doc_id, stage, DROPPED, rule.field, value, limits[rule.field], source=source))
            else:
                verdicts.append(Verdict(doc_id, stage, source=source))
        _write_survivors(lang, source, inputs[f"documents/{source}"], seen - broken.keys(), out)
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    files = sorted(out.path.glob("part-*.parquet"))
    kept = sum(records.read_table(p, columns=["doc_id"]).num_rows for p in files)
    dropped = sum(v.verdict == DROPPED for v in verdicts)
    return Outcome(
        digest=records.files_digest(files),
        rows_in=len(verdicts),
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={"kept_share": round(kept / len(verdicts), 4) if verdicts else 0.0},
        tables={"dropped by rule": [{"rule": rule, "documents": n, "threshold": limits[rule]} for rule, n in by_rule.most_common()]},
        checks=[
            Check(name="rows_balance", passed=kept + dropped == len(verdicts), detail=f"{len(verdicts)} in = {kept} kept + {dropped} dropped"),
            Check(name="language_not_empty", passed=kept > 0, detail=f"{kept} documents in '{lang}' passed the rules"),
        ],
    )


def _write_survivors(lang: str, source: str, documents: Artifact, survivors: set[str], out: Workspace) -> None:
    wanted = pa.array(sorted(survivors), pa.string())
    tables = []
    for path in documents.files("part-"):
        table = records.read_table(path, records.DOCUMENT)
        tables.append(table.filter(pc.is_in(table.column("doc_id"), value_set=wanted)))
    kept = pa.concat_tables(tables) if tables else records.DOCUMENT.empty_table()
    out.write(f"part-{source}.parquet", kept.sort_by("doc_id"))
