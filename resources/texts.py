"""Addresses and texts of documents by id, from the first stage that has their text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from neo_assets.core.records import PART
from neo_assets.core.store import Store


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
        for row in pq.read_table(path, columns=["doc_id", "url", "text", "lang"], filters=filters).to_pylist()
    ]
