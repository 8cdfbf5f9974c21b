"""``near_dedup/‹lang›``: one document per cluster of near duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.data import NearDedup
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup import minhash_kernels as kernels
from neo_assets.dedup.clusters import Candidates, drop_losers, write_choices
from neo_assets.dedup.minhash import (
    MOST_COMPARED,
    Sets,
    agreements,
    clusters,
    keys_of,
    midpoint,
    shingle_sets,
    signatures,
    similar_clusters,
)


def drop_near_duplicates(config: StepInput[NearDedup], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """One document of every cluster of near duplicates (MinHash LSH, connected components).

    Of a cluster the document most surely in its language stays, of those the longest, of those the smallest id; the
    others name it as their twin, with the estimated Jaccard similarity. With ``min_similarity`` a link counts only
    between documents that are that similar indeed, and only what is that similar to one that stays goes, so that a
    chain of small differences takes nothing along: several documents of a cluster may stay. Every survivor carries its
    cluster's id, which later keeps held-out and training text apart. Memory grows by about 100 bytes a document of the
    language; signatures (and shingles) lie on disk.
    """
    settings = config.settings
    (before,) = inputs.values()
    shards = before.files(records.PART)
    scratch = out.path / ".logs"
    run_shards(
        partial(_sign_shard, settings, scratch / "signatures"),
        shards,
        out,
        writes=partial(records.array_file, scratch / "signatures"),
        input_bytes=total_bytes(shards),
    )
    candidates = Candidates.read([_candidates(scratch / "signatures", path) for path in shards])
    files = [records.array_file(scratch / "signatures", path) for path in shards]
    keys = [_keys(scratch / "signatures", path) for path in shards]
    out.log(f"{sum(candidates.sizes):,} signatures; {settings.bands} bands of {settings.rows}")
    threshold = round(midpoint(settings.bands, settings.rows), 4)
    if settings.min_similarity is None:
        cluster = clusters(keys, candidates.sizes, settings.bands)
        keepers = candidates.keepers(cluster)
        losers = np.flatnonzero(keepers != np.arange(len(keepers)))
        similarity = np.ones(len(keepers))
        if len(losers):
            similarity[losers] = agreements(files, candidates.sizes, losers, keepers[losers])
    else:
        threshold = settings.min_similarity
        folder = scratch / "signatures"
        sets = Sets.joined(scratch / "sets.bin", [(_sets(folder, path), _ends(folder, path)) for path in shards])
        cluster = similar_clusters(keys, candidates.sizes, settings, sets, candidates.by_id())
        keepers, similarity = np.empty(len(cluster), np.int64), np.empty(len(cluster))
        kernels.keep_dissimilar(
            candidates.preferred(cluster),
            cluster,
            sets.shingles,
            sets.ends,
            threshold,
            MOST_COMPARED,
            keepers,
            similarity,
        )
        losers = np.flatnonzero(keepers != np.arange(len(keepers)))
    write_choices(scratch / "choices", shards, candidates, keepers, np.round(similarity, 4), cluster)
    outcome = run_step(
        f"near_dedup/{config.lang}",
        shards,
        partial(_decide, threshold, scratch / "choices"),
        out,
        expected=before.manifest.rows_kept or 0,
    )
    sizes = np.bincount(cluster) if len(cluster) else np.zeros(1, np.int64)
    outcome.numbers |= {
        "clusters": int((sizes > 0).sum()),
        "largest_cluster": int(sizes.max()),
        "lsh_midpoint": round(midpoint(settings.bands, settings.rows), 4),
        "duplicate_share": round(len(losers) / max(1, len(keepers)), 4),
    }
    return outcome


def _decide(threshold: float, choices: Path, documents: pa.Table, shard: Path) -> Decision:
    decision = drop_losers("near_duplicate", threshold, choices, documents, shard)
    decision.columns["cluster_id"] = records.read_table(choices / shard.name).column("cluster")
    return decision


def _sign_shard(settings: NearDedup, folder: Path, shard: Path) -> None:
    documents = records.read_table(shard, records.DOCUMENT, ["doc_id", "text", "lang_score"])
    texts = documents.column("text")
    records.write_array(Candidates.of(documents), _candidates(folder, shard))
    if settings.min_similarity is not None:
        shingles, ends = shingle_sets(texts, settings)
        records.write_array(shingles, _sets(folder, shard))
        records.write_array(ends, _ends(folder, shard))
    made = signatures(texts, settings)
    records.write_array(keys_of(made, settings.bands, settings.rows), _keys(folder, shard))
    records.write_array(made, records.array_file(folder, shard))


def _keys(folder: Path, shard: Path) -> Path:
    return folder / f"{shard.stem}.keys.npy"


def _candidates(folder: Path, shard: Path) -> Path:
    return folder / f"{shard.stem}.candidates.npy"


def _sets(folder: Path, shard: Path) -> Path:
    return folder / f"{shard.stem}.shingles.npy"


def _ends(folder: Path, shard: Path) -> Path:
    return folder / f"{shard.stem}.ends.npy"


STEP = Step("no near duplicate", drop_near_duplicates)
