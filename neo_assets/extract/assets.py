"""The extract room: `page_text`, `documents`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.stage import ROWS_BALANCE, Need, Stage
from neo_assets.extract.documents import DocumentsInput, make_documents
from neo_assets.extract.page_text import WHOLE_BLOCKS, PageTextInput, extract_pages


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    for name, source in recipe.sources.items():
        before = f"raw_crawl/{name}"
        if not source.GIVES_TEXT:
            yield Stage(
                f"page_text/{name}",
                extract_pages,
                PageTextInput(extract=recipe.extract, in_place=source if isinstance(source, WarcSource) else None),
                reads=[before],
                claims=[ROWS_BALANCE, WHOLE_BLOCKS],
                label="with main text",
                needs=[Need("trafilatura", "trafilatura")] if recipe.extract.extractor == "trafilatura" else [],
            )
            before = f"page_text/{name}"
        config = DocumentsInput(
            documents=recipe.documents, source=name, licence=source.licence, snapshot=source.snapshot
        )
        yield Stage(
            f"documents/{name}", make_documents, config, reads=[before], claims=[ROWS_BALANCE], label="documents"
        )
