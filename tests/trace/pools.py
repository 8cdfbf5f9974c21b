"""Small training pools, and their index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neo_assets.core.shards import LocalEngine
from neo_assets.core.store import MadeFrom, Store, input_refs
from neo_assets.trace.index import TraceInput, index_pool
from neo_assets.trace.search import TraceIndex
from tests.corpora import document, left_by_a_step


def indexed(folder: Path, texts: Sequence[str], shard_mb: int = 1, files: int = 3, workers: int = 1) -> TraceIndex:
    """The index of these texts; their documents are d0, d1, …"""
    documents = [document(text, "en", f"d{i}") for i, text in enumerate(texts)]
    pool = left_by_a_step(folder, documents, files, key="train_pool")
    inputs = {"train_pool": pool}
    made, _ = Store(folder).build(
        "trace_index",
        MadeFrom(config={"shard_mb": shard_mb}, code={}, libraries={}, inputs=input_refs(inputs, {})),
        lambda out: index_pool(TraceInput(shard_mb=shard_mb), inputs, out),
        engine=LocalEngine(workers, at_least_bytes=0),
    )
    return TraceIndex(made)
