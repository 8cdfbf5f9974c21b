"""A crawl and a WARC file keep documents where they are asked to; pages and documents go their ways and meet again."""

from __future__ import annotations

import sys
from pathlib import Path

from pages import INPUT

from neo_assets.core.recipe.data import Convert, Extract
from neo_assets.core.recipe.sources import CrawlSource, WarcSource
from neo_assets.core.records import DOCUMENT, read_table, rows
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, input_refs
from neo_assets.crawl.catalogue import read_source_input
from neo_assets.crawl.crawler import crawl_source
from neo_assets.crawl.warc_source import read_warc_source
from neo_assets.extract.documents import make_documents
from neo_assets.extract.page_text import PageTextInput, extract_pages
from neo_assets.extract.pdf_text import PdfTextInput, convert_documents
from neo_assets.web.warc_files import Response, SegmentWriter
from tests.small_pdf import Page, pdf

sys.path.append(str(Path(__file__).parents[1] / "crawl"))
from sites import html, send, serving

LINES = [
    "A printed page among the pages of a site is kept where the recipe asks for it,",
    "and it is read by another stage than the pages are, with a row that says how.",
]
GUIDE = pdf([Page([(60.0, 700 - 15 * i, line) for i, line in enumerate(LINES)])])
PROSE = "<p>The quick brown fox jumps over the lazy dog and then has a long rest in the shade of the old tree.</p>" * 4
PAGES = Extract(extractor="blocks", keep_above=0.5, min_chars=1, max_html_bytes=50_000, max_bad_share=0.5)
CONVERT = Convert.model_validate({"ocr": False})


def chain(tmp_path: Path, source: CrawlSource | WarcSource) -> tuple[dict[str, Artifact], dict[str, str]]:
    """All artifacts from the catalogue to the documents, and the documents' texts by URL."""
    store = Store(tmp_path / "store")
    made: dict[str, Artifact] = {}

    def build(kind: str, work: object, *reads: str) -> None:
        inputs = {f"{name}/test": made[name] for name in reads}
        config = read_source_input(source).model_dump(mode="json") if kind == "sources" else {}
        made_from = MadeFrom(config=config, code={}, libraries={}, inputs=input_refs(inputs, {}))
        made[kind] = store.build(f"{kind}/test", made_from, lambda out: work(inputs, out))[0]  # type: ignore[operator]

    in_place = source if isinstance(source, WarcSource) else None
    read = read_warc_source if in_place else crawl_source
    build("sources", lambda _, out: Outcome(digest="d"))
    build("raw_crawl", lambda inputs, out: read(source, inputs, out), "sources")  # type: ignore[arg-type]
    pages = PageTextInput(extract=PAGES, in_place=in_place)
    build("page_text", lambda inputs, out: extract_pages(pages, inputs, out), "raw_crawl")
    printed = PdfTextInput(convert=CONVERT, in_place=in_place)
    build("pdf_text", lambda inputs, out: convert_documents(printed, inputs, out), "raw_crawl")
    build("documents", lambda inputs, out: make_documents(INPUT, inputs, out), "page_text", "pdf_text")
    for artifact in made.values():
        assert all(check.passed for check in artifact.verdict), artifact.verdict
    texts = {
        str(row["url"]): str(row["text"])
        for path in made["documents"].files("part-")
        for row in rows(read_table(path, DOCUMENT))
    }
    return made, texts


def test_a_crawl_keeps_documents_where_it_is_asked_to(tmp_path: Path) -> None:
    answers = {
        "/": send(html(f'{PROSE}<a href="/guide.pdf">x</a><a href="/picture.png">y</a>')),
        "/guide.pdf": send(GUIDE, Content_Type="application/pdf"),
        "/picture.png": send(b"\x89PNG", Content_Type="image/png"),
    }
    with serving(answers) as site:
        fields = {
            "kind": "crawl",
            "licence": "CC0-1.0",
            "snapshot": "1",
            "seeds": [f"{site.root}/"],
            "allowed_domains": ["127.0.0.1"],
            "private_addresses": True,
        }
        made, texts = chain(tmp_path, CrawlSource.model_validate({**fields, "keep_documents": True}))
        without = CrawlSource.model_validate(fields)
        assert not without.converts
    assert texts[f"{site.root}/guide.pdf"] == " ".join(LINES) and len(texts) == 2
    assert made["raw_crawl"].manifest.rows_kept == 2 and made["page_text"].manifest.rows_in == 1
    assert made["documents"].manifest.rows_in == 2


def test_a_warc_file_gives_its_documents_too(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "in" / "a.warc.gz", "test")
    for url, kind, payload in (
        ("http://a.example/", "text/html", html(PROSE)),
        ("http://a.example/guide.pdf", "application/pdf", GUIDE),
    ):
        writer.add(Response(url, 200, [("Content-Type", kind)], payload, "2026-01-01T00:00:00Z"))
    writer.finish()
    fields = {"kind": "warc", "licence": "CC0-1.0", "snapshot": "1", "paths": [str(tmp_path / "in")]}
    _, texts = chain(tmp_path, WarcSource.model_validate({**fields, "keep_documents": True}))
    assert texts["http://a.example/guide.pdf"] == " ".join(LINES) and len(texts) == 2
