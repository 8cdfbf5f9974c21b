"""All the text that a reader of a crawled page sees, before anything chose from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.store import Store
from neo_assets.crawl.stored_pages import stored_parts
from neo_assets.extract.html_pages import html_pages
from neo_assets.extract.page_blocks import blocks_of
from neo_assets.extract.page_lines import text_of
from neo_assets.web.encoding import decode_html
from neo_assets.web.fetch_log import FETCHED, read_log
from neo_assets.web.flat_page import flat_page


def seen_text(store: Store, recipe: Recipe, doc_id: str) -> str | None:
    """The text of all blocks of a page, by its document's id; None where no source of pages has it."""
    for name, source in recipe.sources.items():
        if source.GIVES_TEXT or not source.GIVES_PAGES or store.head_pointer(recipe.name, f"raw_crawl/{name}") is None:
            continue
        crawl = store.head(recipe.name, f"raw_crawl/{name}")
        parts = {part.name: part for part in stored_parts(crawl, source if isinstance(source, WarcSource) else None)}
        for log in crawl.files("log/"):
            if not any(row.doc_id == doc_id and row.outcome == FETCHED for row in read_log(log)):
                continue
            with tempfile.TemporaryDirectory() as scratch:
                for found, _, page in html_pages(parts[log.stem], Path(scratch)):
                    if found == doc_id:
                        flat = flat_page(decode_html(page.payload, page.content_type)[0])
                        blocks = blocks_of(flat)
                        return text_of(flat, blocks, np.ones(len(blocks.first), np.bool_)).strip()
    return None
