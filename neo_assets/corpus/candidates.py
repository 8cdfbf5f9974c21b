"""Candidates for being held out: whole near-duplicate clusters, or pages with their translations, by a keyed hash."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from neo_assets.core.recipe.data import Split


def is_held_out(name: str, split: Split) -> bool:
    """Whether a near-duplicate cluster, or a page with its translations, is a candidate: its keyed hash falls into the
    recipe's share.
    """
    return xxhash.xxh3_64_intdigest(name.encode(), seed=split.seed) < int(split.share * (1 << 64))


def groups(split: Split, documents: pa.Table) -> list[str]:
    """What each document (columns ``url``, ``cluster_id``) is held out together with."""
    clusters, urls = documents.column("cluster_id").to_pylist(), documents.column("url").to_pylist()
    return [split.page(url) or cluster for url, cluster in zip(urls, clusters, strict=True)]


def are_candidates(split: Split, documents: pa.Table) -> npt.NDArray[np.bool_]:
    """Which documents are candidates."""
    return np.array([is_held_out(group, split) for group in groups(split, documents)], np.bool_)
