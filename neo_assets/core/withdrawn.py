"""What an artifact `withdrawn` says: which documents of the corpus are not to be used, by the file they stand in."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.artifact import Artifact
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.steps import module_of_step
from neo_assets.core.tombstones import Scope

KEY = "withdrawn"
SIDES = ("train_pool", "heldout")
FOUND = pa.schema([("doc_id", pa.string()), ("of", pa.string())])
"""A withdrawn document, and the one that is named: itself, or a copy that it stayed in the place of."""


def reads_of(recipe: Recipe) -> list[str]:
    """What is looked through for what tombstones name: everything that was crawled, what was dropped for a copy that
    stayed, and both sides of the corpus.
    """
    copies = [
        f"{step}/{lang}"
        for lang in recipe.languages
        for step in recipe.steps[lang]
        if str(module_of_step(step)).startswith("neo_assets.dedup.")
    ]
    crawled = [f"{kind}/{source}" for source in recipe.sources for kind in ("raw_crawl", "documents")]
    return [*crawled, *copies, *SIDES]


def withdrawn_of(inputs: Mapping[str, Artifact], side: str, part: str, scope: Scope = "corpus") -> pa.Table:
    """Withdrawn documents of one file (its name) of the training pool, or of what is held out; none for a stage that
    does not read :data:`KEY`. ``scope``: for whom they are withdrawn.
    """
    made, named = inputs.get(KEY), f"{scope}/{side}/{part}"
    if made is None or named not in made.manifest.files:
        return FOUND.empty_table()
    return records.read_table(made.file(named), FOUND)


def without_withdrawn(table: pa.Table, inputs: Mapping[str, Artifact], side: str, part: str) -> pa.Table:
    """A file's documents (``doc_id`` among their columns), without those."""
    gone = withdrawn_of(inputs, side, part)["doc_id"].combine_chunks()
    return table.filter(pc.invert(pc.is_in(table["doc_id"], value_set=gone))) if len(gone) else table


def all_withdrawn(inputs: Mapping[str, Artifact], side: str, scope: Scope = "corpus") -> set[str]:
    """Ids of all withdrawn documents of a side."""
    files = inputs[KEY].files(f"{scope}/{side}/") if KEY in inputs else []
    return {doc_id for file in files for doc_id in records.read_table(file, FOUND)["doc_id"].to_pylist()}
