"""``hq_recall/‹lang›``: more of what is known to be good, by the classifier's score of every document; and how precise
that is, by people's labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe.base import NOT_IDENTITY, Section
from neo_assets.core.recipe.data import HighQuality
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.steps import (
    VERDICTS,
    Decision,
    read_footer,
    totals,
    verdict_columns,
    write_part,
    write_verdicts,
    write_with_footer,
)
from neo_assets.core.store import Artifact, Check, Outcome, Row, Scalar, Workspace
from neo_assets.quality.classifier import load_model, scores_of

SCORES = "scores"
"""Folder of an artifact of recall: the score of every document."""


class RecallInput(Section):
    """``labels``: documents read by people; its digest counts, its place does not."""

    lang: str
    settings: HighQuality
    labels: str = Field(default="", json_schema_extra=NOT_IDENTITY)
    labels_digest: str = ""


def recall_input(lang: str, settings: HighQuality) -> RecallInput:
    """Raises BadInput when the recipe names labels that are not there."""
    if settings.labels is None:
        return RecallInput(lang=lang, settings=settings)
    file = recipe_path(settings.labels)
    if not file.is_file():
        raise BadInput(f"high_quality.{lang}.labels: there is no file {file}")
    return RecallInput(lang=lang, settings=settings, labels=settings.labels, labels_digest=digest_file(file))


def recall(config: RecallInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Which documents the classifier recalls, with the score of every document, and its precision on a sample that
    people labelled.

    Nothing is dropped here: a mixture may read recalled documents more often.
    """

    cleaned = next(artifact for name, artifact in inputs.items() if not name.startswith("hq_classifier/"))
    model = inputs[f"hq_classifier/{config.lang}"].file("classifier.bin")
    shards = cleaned.files(records.PART)
    labels = _labels(config)
    run_shards(
        partial(_recall_shard, config, model, frozenset(labels), out.path),
        shards,
        out,
        writes=lambda path: out.path / SCORES / path.name,
        input_bytes=total_bytes(shards),
    )
    found = totals([out.path / records.RECALLED / path.name for path in shards], [])
    sources: Counter[tuple[str, bool]] = Counter()
    told: dict[str, bool] = {}
    for path in shards:
        footer = read_footer(out.path / SCORES / path.name)
        sources.update({(source, hit): n for source, hit, n in footer["by_source"]})
        told |= dict(footer["labelled"])
    scored, expected = sources.total(), cleaned.manifest.rows_kept or 0
    by_source: list[Row] = [
        {"source": s, "documents": sources[s, True] + sources[s, False], "recalled": sources[s, True]}
        for s in sorted({s for s, _ in sources})
    ]
    return Outcome(
        digest=found.digest,
        rows_in=expected,
        rows_kept=scored,
        rows_dropped=0,
        numbers={
            "recalled": found.rows,
            "recalled_share": round(found.rows / scored, 4) if scored else 0.0,
            **_precision(labels, told),
        },
        tables={"by source": by_source},
        checks=[Check(name="rows_balance", passed=scored == expected, detail=f"{expected} in = {scored} scored")],
    )


def _recall_shard(config: RecallInput, model: Path, labelled: frozenset[str], folder: Path, path: Path) -> None:
    """Verdicts, then what is recalled, then the scores: where these are, the others are."""
    least = config.settings.min_score
    table = records.read_table(path, records.DOCUMENT, ["doc_id", "text", "url", "source"])
    found = scores_of(load_model(model), table.column("text").to_pylist())
    hits = found > least
    decision = Decision.keep(table.num_rows)
    decision.value, decision.threshold = np.round(found, 6), np.full(table.num_rows, least)
    decision.detail = ["recalled" if hit else "" for hit in hits]
    columns = verdict_columns(f"hq_recall/{config.lang}", table.column("doc_id"), table.column("source"), decision)
    write_verdicts(columns, folder / VERDICTS / path.name)
    write_part(table.select(["doc_id"]).filter(pa.array(hits)), folder / records.RECALLED / path.name)
    sources = Counter(zip(table.column("source").to_pylist(), hits.tolist(), strict=True))
    urls = zip(table.column("url").to_pylist(), hits.tolist(), strict=True)
    footer: dict[str, object] = {
        "by_source": [[source, hit, n] for (source, hit), n in sorted(sources.items())],
        "labelled": [[url, hit] for url, hit in urls if url in labelled],
    }
    scores = pa.table({"doc_id": table.column("doc_id"), "score": found})
    write_with_footer(scores, folder / SCORES / path.name, footer)


def _labels(config: RecallInput) -> dict[str, bool]:
    """What people said of documents, by URL. Labels are JSON lines: ``url`` and ``good``."""
    if not config.labels:
        return {}
    file = recipe_path(config.labels)
    if digest_file(file) != config.labels_digest:
        raise BadInput(f"{file} has changed since the recipe was loaded; load it again")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["url"]: bool(row["good"]) for row in rows}


def _precision(labels: Mapping[str, bool], recalled: Mapping[str, bool]) -> dict[str, Scalar]:
    """Precision and recall on the labelled documents that are in the corpus."""
    here = [(good, recalled[url]) for url, good in labels.items() if url in recalled]
    if not here:
        return {}
    hit = sum(good and found for good, found in here)
    found, good = sum(f for _, f in here), sum(g for g, _ in here)
    n = max(1, found)
    share = hit / n
    return {
        "labelled": len(here), "labelled_good": good, "labelled_recalled": found, "precision": round(share, 4),
        "precision_stderr": round(float(np.sqrt(share * (1 - share) / n)), 4),
        "recall_of_good": round(hit / max(1, good), 4),
    }  # fmt: skip
