"""``matrix``, ``heldout``, ``train_pool``: the cleaned corpus, and the line between what is trained on and what is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa
import xxhash

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Split
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace


class MatrixInput(Section):
    languages: list[str]


def assemble_matrix(config: MatrixInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The corpus: what the last cleaning step of every language left, one file a language.

    This is what a data release is made of. Its numbers are documents, characters and UTF-8 bytes by language and source.
    """
    verdicts: list[Verdict] = []
    table_rows: list[Row] = []
    digests: dict[str, str] = {}
    for lang, cleaned in zip(config.languages, inputs.values(), strict=True):
        table = pa.concat_tables([records.read_table(p, records.DOCUMENT) for p in cleaned.files("part-")]).sort_by("doc_id")
        out.write(f"{lang}.parquet", table)
        digests[lang] = records.table_digest([table])
        totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for doc_id, text, source in zip(*(table.column(n).to_pylist() for n in ("doc_id", "text", "source")), strict=True):
            verdicts.append(Verdict(doc_id, "matrix", source=source))
            for i, amount in enumerate((1, len(text), len(text.encode()))):
                totals[source][i] += amount
        table_rows += [{"language": lang, "source": s, "documents": d, "characters": c, "bytes": b} for s, (d, c, b) in sorted(totals.items())]
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    expected = sum(a.manifest.rows_kept or 0 for a in inputs.values())
    by_language = {lang: sum(int(str(r["documents"])) for r in table_rows if r["language"] == lang) for lang in config.languages}
    return Outcome(
        digest=digest_json(digests),
        parts=digests,
        rows_in=expected,
        rows_kept=len(verdicts),
        rows_dropped=0,
        numbers={"documents": len(verdicts), "bytes": sum(int(str(r["bytes"])) for r in table_rows)},
        tables={"by language and source": table_rows},
        checks=[
            Check(name="rows_balance", passed=len(verdicts) == expected, detail=f"{expected} left by cleaning = {len(verdicts)} here"),
            Check(name="language_not_empty", passed=all(by_language.values()), detail=str(by_language)),
        ],
    )


class SplitInput(Section):
    languages: list[str]
    split: Split


def is_held_out(cluster_id: str, split: Split) -> bool:
    """Whether a near-duplicate cluster is held out: its keyed hash falls into the recipe's share."""
    return xxhash.xxh3_64_intdigest(cluster_id.encode(), seed=split.seed) < int(split.share * (1 << 64))


def hold_out(config: SplitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents that nothing trains on, the tokenizer included; evaluation tasks are made from them. Whole near-duplicate clusters, chosen by a keyed hash."""
    return _side(config, inputs["matrix"], out, held_out=True)


def pool(config: SplitInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Everything of the matrix that is not held out: what mixtures and the tokenizer may draw from."""
    return _side(config, inputs["matrix"], out, held_out=False)


def _side(config: SplitInput, matrix: Artifact, out: Workspace, *, held_out: bool) -> Outcome:
    stage = "heldout" if held_out else "train_pool"
    other = "in_train_pool" if held_out else "held_out"
    verdicts, tables, counts = [], [], {}
    for lang in config.languages:
        table = matrix.table(f"{lang}.parquet", records.DOCUMENT)
        mask = [is_held_out(c, config.split) == held_out for c in table.column("cluster_id").to_pylist()]
        for doc_id, source, mine in zip(table.column("doc_id").to_pylist(), table.column("source").to_pylist(), mask, strict=True):
            verdicts.append(Verdict(doc_id, stage, source=source) if mine else Verdict(doc_id, stage, DROPPED, other, source=source))
        tables.append(table.filter(pa.array(mask, pa.bool_())))
        counts[lang] = tables[-1].num_rows
    chosen = pa.concat_tables(tables).sort_by("doc_id")
    out.write("documents.parquet", chosen)
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    dropped = sum(v.verdict == DROPPED for v in verdicts)
    return Outcome(
        digest=records.table_digest([chosen]),
        rows_in=len(verdicts),
        rows_kept=chosen.num_rows,
        rows_dropped=dropped,
        numbers={f"documents_{lang}": n for lang, n in counts.items()},
        checks=[
            Check(name="rows_balance", passed=chosen.num_rows + dropped == len(verdicts), detail=f"{len(verdicts)} in = {chosen.num_rows} here + {dropped} on the other side"),
            Check(name="language_not_empty", passed=all(counts.values()), detail=str(counts)),
        ],
    )
