"""The extract group: `page_text`, `documents`."""

from __future__ import annotations

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, artifact
from neo_assets.extract.documents import DocumentsInput, make_documents
from neo_assets.extract.page_text import extract_pages

GROUP = "extract"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for name, source in recipe.sources.items():
        has_pages = source.kind != "documents"
        if has_pages:
            out[f"page_text/{name}"] = Declared(
                f"page_text/{name}", extract_pages, recipe.extract, reads=[f"raw_crawl/{name}"]
            )
        config = DocumentsInput(
            documents=recipe.documents, source=name, licence=source.licence, snapshot=source.snapshot
        )
        out[f"documents/{name}"] = Declared(
            f"documents/{name}",
            make_documents,
            config,
            reads=[f"page_text/{name}" if has_pages else f"raw_crawl/{name}"],
        )
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    return [
        artifact(recipe, GROUP, entry, checks=["rows_balance"], kinds=["parquet"])
        for entry in declared(recipe).values()
    ]
