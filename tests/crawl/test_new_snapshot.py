"""A new snapshot asks for pages by what is known of them, and comes to what a full crawl would."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

from sites import Answer, build, crawl_config, html, send, serving, upstream

from neo_assets.core.store import Artifact
from neo_assets.crawl.crawler import crawl_source
from neo_assets.web.warc_files import read_segment


def tagged(content: bytes, tag: str, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        same = request.headers.get("If-None-Match") == tag
        send(b"" if same else content, 304 if same else 200, ETag=tag, **headers)(request)

    return answer


def dated(content: bytes, date: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        same = request.headers.get("If-Modified-Since") == date
        send(b"" if same else content, 304 if same else 200, Last_Modified=date)(request)

    return answer


def pages(artifact: Artifact) -> dict[str, bytes]:
    return {p.url: p.payload for file in artifact.files("warc/", ".warc.gz") for p in read_segment(file)}


def test_unchanged_pages_come_from_the_earlier_snapshot(tmp_path: Path) -> None:
    paths = ("/tagged", "/dated", "/plain")
    root = html("".join(f'<a href="{path}">x</a>' for path in paths))
    date = "Sat, 01 Nov 2025 10:00:00 GMT"
    answers = {
        "/": tagged(root, '"r"'),
        "/tagged": tagged(html('the tagged page <a href="/found">x</a>'), '"1"'),
        "/dated": dated(html("the dated page"), date),
        "/plain": send(html("a page without either")),
        "/found": send(html("found by a page that did not change")),
    }
    with serving(answers) as site:

        def snapshot(label: str, store: str = "store") -> Artifact:
            config = crawl_config(site.root, snapshot=label)
            return build(tmp_path / store, "raw_crawl/test", crawl_source, config, upstream(config))

        first = snapshot("1")
        answers["/plain"] = send(html("a page that changed"))
        answers["/dated"] = dated(html("the dated page"), date)
        site.answers.update(answers)
        second = snapshot("2")
        whole = snapshot("2", "another store")
    assert second.manifest.numbers["not_modified"] == 3 and first.manifest.numbers["not_modified"] == 0
    assert whole.manifest.numbers["not_modified"] == 0
    assert pages(second) == pages(whole) and second.manifest.digest == whole.manifest.digest != first.manifest.digest
