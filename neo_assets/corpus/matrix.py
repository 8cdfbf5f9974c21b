"""``matrix``: the cleaned corpus."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.same_file import take_over
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import VERDICTS, Decision, amounts, totals, verdict_columns, write_verdicts
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace


class MatrixInput(Section):
    languages: list[str]


def assemble_matrix(config: MatrixInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The corpus: what the last cleaning step of every language left, in files that are ranges of document ids.

    Their texts are those of the last step, under another name, not written again. This is what a data release is made
    of. Its numbers are documents, characters and UTF-8 bytes by language and
    source.
    """
    work = [
        (lang, path)
        for lang, cleaned in zip(config.languages, inputs.values(), strict=True)
        for path in cleaned.files(records.PART)
    ]
    run_shards(
        partial(_take, out.path),
        work,
        out,
        writes=partial(_taken, out.path),
        input_bytes=total_bytes(path for _, path in work),
    )
    digests: dict[str, str] = {}
    table_rows: list[Row] = []
    seen = 0
    for lang in config.languages:
        parts = sorted(out.path.glob(f"{records.PART}{lang}-*.parquet"))
        found = totals(parts, [out.path / VERDICTS / path.name for path in parts])
        digests[lang] = found.digest
        seen += found.seen
        table_rows += [
            {"language": lang, "source": source, **amount._asdict()}
            for (lang, source), amount in sorted(amounts(parts).items())
        ]
    expected = sum(a.manifest.rows_kept or 0 for a in inputs.values())
    by_language = {
        lang: sum(int(str(r["documents"])) for r in table_rows if r["language"] == lang) for lang in config.languages
    }
    return Outcome(
        digest=digest_json(digests),
        parts=digests,
        rows_in=expected,
        rows_kept=seen,
        rows_dropped=0,
        numbers={"documents": seen, "bytes": sum(int(str(r["bytes"])) for r in table_rows)},
        tables={"by language and source": table_rows},
        checks=[
            Check(
                name="rows_balance",
                passed=seen == expected == sum(by_language.values()),
                detail=f"{expected} left by cleaning = {seen} here",
            ),
            Check(name="language_not_empty", passed=all(by_language.values()), detail=str(by_language)),
        ],
    )


def _taken(folder: Path, shard: tuple[str, Path]) -> Path:
    lang, path = shard
    return folder / path.name.replace(records.PART, f"{records.PART}{lang}-", 1)


def _take(folder: Path, shard: tuple[str, Path]) -> None:
    path, target = shard[1], _taken(folder, shard)
    documents = records.read_table(path, records.DOCUMENT, ["doc_id", "source"])
    write_verdicts(
        verdict_columns(
            "matrix", documents.column("doc_id"), documents.column("source"), Decision.keep(documents.num_rows)
        ),
        folder / VERDICTS / target.name,
    )
    take_over(path, target)
