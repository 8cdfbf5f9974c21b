"""``signals/‹source›``: every rule's value for every document, so that a threshold can be moved without reading text again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

from neo_assets.clean import signals_en, signals_zh
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Check, Outcome, Workspace

NAMES = {"en": signals_en.SIGNALS, "zh": signals_zh.SIGNALS}


class SignalsInput(Section):
    source: str
    languages: list[str]
    stop_words: list[str]


def schema(lang: str) -> pa.Schema:
    """Columns of a language's signal table: ``doc_id``, ``lang_score`` and one float64 per signal."""
    return pa.schema([("doc_id", pa.string()), *((name, pa.float64()) for name in ("lang_score", *NAMES[lang]))])


def measure_signals(config: SignalsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """What every cleaning rule measures, one column per rule, for every document of one source.

    Each value is computed once, from the text; which documents stay is decided later, from these numbers and the recipe's
    thresholds. Documents in a language that the recipe does not list end here, with a verdict.
    """
    (source,) = inputs.values()
    documents = source.files("part-")
    run_shards(partial(_measure_shard, config=config, out=out.path), documents, workers=out.workers, scratch=out.path / ".logs", input_bytes=total_bytes(documents))
    rows = []
    for path in documents:
        table = records.read_table(path, records.DOCUMENT, ["doc_id", "lang"])
        for doc_id, lang in zip(table.column("doc_id").to_pylist(), table.column("lang").to_pylist(), strict=True):
            rows.append(
                Verdict(doc_id, f"signals/{config.source}")
                if lang in config.languages
                else Verdict(doc_id, f"signals/{config.source}", DROPPED, "language_not_listed", detail=lang)
            )
    out.write("verdicts.parquet", records.verdict_table(rows))
    parts = {lang: records.files_digest(sorted(out.path.glob(f"{lang}/part-*.parquet"))) for lang in config.languages}
    counts = {lang: sum(records.read_table(p, columns=["doc_id"]).num_rows for p in out.path.glob(f"{lang}/part-*.parquet")) for lang in config.languages}
    kept = sum(row.verdict != DROPPED for row in rows)
    return Outcome(
        digest=digest_json(parts),
        parts=parts,
        rows_in=len(rows),
        rows_kept=kept,
        rows_dropped=len(rows) - kept,
        numbers={f"documents_{lang}": n for lang, n in counts.items()},
        checks=[
            Check(name="rows_balance", passed=sum(counts.values()) == kept, detail=f"{len(rows)} in = {sum(counts.values())} measured + {len(rows) - kept} in other languages")
        ],
    )


def _measure_shard(path: Path, config: SignalsInput, out: Path) -> None:
    targets = {lang: out / lang / path.name for lang in config.languages}
    if all(target.is_file() for target in targets.values()):
        return
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "text", "lang", "lang_score"])
    for lang, target in targets.items():
        chosen = [row for row in records.rows(table) if row["lang"] == lang]
        values = [_measure(str(row["text"]), lang, config) for row in chosen]
        columns: dict[str, list[object]] = {"doc_id": [r["doc_id"] for r in chosen], "lang_score": [r["lang_score"] for r in chosen]}
        columns |= {name: [v[i] for v in values] for i, name in enumerate(NAMES[lang])}
        records.write_table(pa.table(columns, schema=schema(lang)), target)


def _measure(text: str, lang: str, config: SignalsInput) -> tuple[float, ...]:
    return signals_en.english_signals(text, config.stop_words) if lang == "en" else signals_zh.chinese_signals(text)
