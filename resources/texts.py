"""Addresses and texts of documents by id: from the first stage that has their text, or from every one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.parquet as pq

from neo_assets.core.here import here
from neo_assets.core.records import PART
from neo_assets.core.store import Store
from resources.ledger import current_artifacts


def texts_of(store: Store, recipe: str, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """(url, text) by document id, for the ids that this recipe's build knows; the text as extracted, before any step
    edited it.
    """
    out: dict[str, tuple[str, str]] = {}
    for name in store.heads(recipe):
        if name.startswith("documents/"):
            for row in rows_of(store.head(recipe, name).files(PART), wanted):
                out[str(row["doc_id"])] = (str(row["url"] or ""), str(row["text"] or ""))
    return out


def rows_of(files: Iterable[Path], wanted: set[str]) -> list[dict[str, object]]:
    """Rows of document files with these ids: ``doc_id``, ``url``, ``text``, ``lang``."""
    if not wanted:
        return []
    filters = [("doc_id", "in", sorted(wanted))]
    return [
        row
        for path in files
        for row in pq.read_table(here(path), columns=["doc_id", "url", "text", "lang"], filters=filters).to_pylist()
    ]


def versions_of(store: Store, recipe: str, doc_id: str, makes: Callable[[str], bool]) -> list[tuple[str, str]]:
    """(artifact, text) of one document wherever a stage of the build has its text, in the order of the stages."""
    out = []
    for name, made in current_artifacts(store, recipe, makes).items():
        if name.partition("/")[0] in NO_STEPS:
            continue
        files = made.files("rows/") + made.files("text/") + made.files(PART)
        for path in files:
            if {"doc_id", "text"} <= set(pq.read_schema(here(path)).names):
                found = pq.read_table(path, columns=["doc_id", "text"], filters=[("doc_id", "=", doc_id)])
                if found.num_rows:
                    out.append((name, str(found["text"][0].as_py())))
                    break
    return out


NO_STEPS = ("matrix", "heldout", "train_pool", "mixture", "tokenizer", "token_shards")
"""Artifacts that hold texts as a step before left them."""
