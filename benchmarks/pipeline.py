"""Everything after extraction against extraction itself: one core, the demo's real pages, English and Chinese together.

Extraction is measured on a sample of the pages' HTML by trafilatura, resiliparse (what the factory uses) and selectolax
(the fastest; no main-content detection), and told per page; the steps after it on all pages. Language identification
and repair are counted among the steps.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import selectolax.lexbor
import trafilatura
from resiliparse.extract.html2text import extract_plain_text

from neo_assets.build import stages
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.crawl.commands import demo_folder

SAMPLE = 300


def body_text(html: str) -> str:
    tree = selectolax.lexbor.LexborHTMLParser(html)
    return tree.body.text() if tree.body else ""


def main() -> None:
    recipe = load("laptop")
    store, entries = Store(store_root()), stages(recipe)
    files = sorted(p for p in demo_folder().rglob("*.html") if any(part in p.parts for part in ("en-US", "zh-CN")))
    pages = [p.read_text(errors="replace") for p in random.Random(1).sample(files, SAMPLE)]
    size = sum(len(p.encode()) for p in pages) / 1e6
    a_page: dict[str, float] = {}
    extractors: dict[str, Callable[[str], object]] = {
        "trafilatura": trafilatura.extract, "resiliparse, main content": lambda p: extract_plain_text(p,
        main_content=True), "selectolax, body text": body_text,
    }  # fmt: skip
    for name, extract in extractors.items():
        extract(pages[0])
        begin = time.process_time()
        for page in pages:
            extract(page)
        a_page[name] = (time.process_time() - begin) / SAMPLE
        print(f"  {name:<28}{1 / a_page[name]:9,.0f} pages/s{size / (a_page[name] * SAMPLE):8.1f} MB of HTML/s")
    total = 0.0
    n = sum(store.head(recipe.name, f"documents/{source}").manifest.rows_kept or 0 for source in recipe.sources)
    steps = [
        *(f"{stage}/{s}" for stage in ("documents", "signals") for s in recipe.sources),
        *(f"{step}/{lang}" for lang in recipe.languages for step in recipe.steps[lang]),
        "matrix",
    ]
    for turn in ("compiling", "measured"):
        told: dict[str, float] = {}
        with TemporaryDirectory() as scratch:
            for name in steps:
                entry = entries[name]
                inputs = {i: store.head(recipe.name, i) for i in entry.reads}
                begin = time.process_time()
                Store(Path(scratch)).build(
                    name,
                    entry.made_from(inputs),
                    lambda out, entry=entry, inputs=inputs: entry.run(entry.config, inputs, out),
                )  # type: ignore[misc]
                told[name.split("/")[0]] = told.get(name.split("/")[0], 0.0) + time.process_time() - begin
        if turn == "measured":
            total = sum(told.values())
            for name, seconds in told.items():
                print(f"  {name:<28}{n / seconds:9,.0f} pages/s{seconds / total:8.1%} of the steps")
    print(
        f"everything after extraction: {n / total:,.0f} pages/s; {total / n / a_page['trafilatura']:.3f} of"
        " trafilatura's time for a page, " + f"{total / n / min(a_page.values()):.2f} of the fastest extractor's"
    )


if __name__ == "__main__":
    main()
