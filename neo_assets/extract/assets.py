"""The extract room: `page_text`, `documents`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.sources import BooksSource, WarcSource
from neo_assets.core.stage import ROWS_BALANCE, Need, Stage
from neo_assets.extract.documents import DocumentsInput, make_documents
from neo_assets.extract.page_text import KEPT_AS_BEFORE, WHOLE_BLOCKS, PageTextInput, extract_pages
from neo_assets.extract.pdf_text import DOCUMENTS_READ, PAGES_TRUSTED, PdfTextInput, convert_documents


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    for name, source in recipe.sources.items():
        before = [f"raw_crawl/{name}"]
        texts = []
        if source.GIVES_PAGES and not source.GIVES_TEXT:
            yield Stage(
                f"page_text/{name}",
                extract_pages,
                PageTextInput(extract=recipe.extract, in_place=source if isinstance(source, WarcSource) else None),
                reads=before,
                claims=[ROWS_BALANCE, WHOLE_BLOCKS, KEPT_AS_BEFORE],
                label="with main text",
                needs=[Need("trafilatura", "trafilatura")] if recipe.extract.extractor == "trafilatura" else [],
            )
            texts.append(f"page_text/{name}")
        if source.converts:
            yield Stage(
                f"pdf_text/{name}",
                convert_documents,
                PdfTextInput(
                    convert=recipe.convert,
                    max_bad_share=source.max_bad_share,
                    in_place=source if isinstance(source, BooksSource | WarcSource) else None,
                ),
                reads=before,
                claims=[ROWS_BALANCE, DOCUMENTS_READ, PAGES_TRUSTED],
                label="converted",
                modules=["neo_assets.extract.convert.child"],
                needs=[Need(module, "documents") for module in ("pypdfium2", "rapidfuzz", "pypandoc")]
                + ([Need("rapidocr", "documents")] if recipe.convert.ocr else []),
            )
            texts.append(f"pdf_text/{name}")
        config = DocumentsInput(
            documents=recipe.documents, source=name, licence=source.licence, snapshot=source.snapshot
        )
        yield Stage(
            f"documents/{name}", make_documents, config, reads=texts or before, claims=[ROWS_BALANCE], label="documents"
        )
