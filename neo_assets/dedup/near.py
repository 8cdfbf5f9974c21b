"""``near_dedup/‹lang›``: one document per cluster of near duplicates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import NearDedup
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.dedup.minhash import MinHash, clusters, midpoint, normalise, shingles, similarity


class NearDedupInput(Section):
    lang: str
    settings: NearDedup


def drop_near_duplicates(config: NearDedupInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """One document of every cluster of near duplicates (MinHash LSH, connected components).

    The longest document of a cluster stays, the smallest id among equally long ones; the others name it as their twin, with the
    estimated Jaccard similarity. Every survivor carries its cluster's id, which later keeps held-out and training text apart.
    """
    settings, stage = config.settings, f"near_dedup/{config.lang}"
    (deduplicated,) = inputs.values()
    table = pa.concat_tables([records.read_table(p, records.DOCUMENT) for p in deduplicated.files("part-")] or [records.DOCUMENT.empty_table()]).sort_by("doc_id")
    ids, texts, sources = (table.column(n).to_pylist() for n in ("doc_id", "text", "source"))
    hasher = MinHash(settings.bands * settings.rows, settings.seed)
    signatures = []
    for i, text in enumerate(texts):
        signatures.append(hasher.signature(shingles(normalise(text), settings.unit, settings.shingle)))
        out.progress(i + 1, len(texts), "signatures")
    labels = clusters(signatures, settings.bands, settings.rows)
    best: dict[int, int] = {}
    for i, label in enumerate(labels):
        held = best.setdefault(int(label), i)
        if len(texts[i]) > len(texts[held]):
            best[int(label)] = i
    threshold = midpoint(settings.bands, settings.rows)
    verdicts, survivors = [], []
    for i, label in enumerate(labels):
        keeper = best[int(label)]
        if keeper == i:
            survivors.append(i)
            verdicts.append(Verdict(ids[i], stage, source=sources[i]))
        else:
            verdicts.append(
                Verdict(ids[i], stage, DROPPED, "near_duplicate", round(similarity(signatures[i], signatures[keeper]), 4), round(threshold, 4), ids[keeper], sources[i])
            )
    kept = table.take(pa.array(survivors, pa.int64()))
    kept = kept.set_column(kept.schema.get_field_index("cluster_id"), "cluster_id", kept.column("doc_id"))
    out.write("part-00000.parquet", kept)
    out.write("verdicts.parquet", records.verdict_table(verdicts))
    dropped = len(verdicts) - len(survivors)
    sizes = np.bincount(labels) if len(labels) else np.zeros(1, dtype=np.int64)
    return Outcome(
        digest=records.table_digest([kept]),
        rows_in=len(verdicts),
        rows_kept=kept.num_rows,
        rows_dropped=dropped,
        numbers={"clusters": len(best), "largest_cluster": int(sizes.max()), "lsh_midpoint": round(threshold, 4), "duplicate_share": round(dropped / max(1, len(verdicts)), 4)},
        checks=[
            Check(name="rows_balance", passed=kept.num_rows + dropped == len(verdicts), detail=f"{len(verdicts)} in = {kept.num_rows} kept + {dropped} dropped"),
            Check(name="language_not_empty", passed=kept.num_rows > 0, detail=f"{kept.num_rows} documents left"),
        ],
    )
