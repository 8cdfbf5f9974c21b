"""A crawl takes what a site gives, names what it does not, and comes to the same end by any way."""

import gzip
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from sites import Answer, crawl, crawl_config, html, raw, redirect, send, serving, stall, verdict_rows

from neo_assets.core.recipe.sources import HtmlFolderSource, Politeness
from neo_assets.core.records import document_id
from neo_assets.crawl import crawler
from neo_assets.web.warc_files import read_segment

CHINESE = "这是一个用来测试编码的页面，里面有许多汉字。" * 5


def links(*targets: str) -> bytes:
    return html("".join(f'<a href="{t}">x</a>' for t in targets))


def test_every_fault_lands_in_the_log_and_none_stops_the_crawl(tmp_path: Path) -> None:
    times: Counter[str] = Counter()

    def busy_once(request: object) -> None:
        times["busy"] += 1
        (send(b"", 503, Retry_After="0") if times["busy"] == 1 else send(html("back again")))(request)  # type: ignore[arg-type]

    faults: dict[str, tuple[Answer, str]] = {
        "/gone": (send(b"", 404), "http_error"),
        "/broken": (send(b"", 500), "http_error"),
        "/loop-a": (redirect("/loop-b"), "redirect"),
        "/loop-b": (redirect("/loop-a"), "redirect_loop"),
        "/off": (redirect("http://elsewhere.invalid/"), "redirect_off_site"),
        "/to-nonsense": (redirect("http://[::1"), "malformed_url"),
        "/image": (send(b"\x89PNG", Content_Type="image/png"), "not_html"),
        "/untyped": (send(b"%PDF-1.4 " + b"x" * 600, Content_Type=""), "not_html"),
        "/silent": (stall(), "timeout"),
        "/slow-body": (
            stall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 90\r\n\r\n<p>and then"),
            "timeout",
        ),
        "/hangs-up": (raw(b""), "connection"),
        "/half": (
            raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 900\r\n\r\n<p>half"),
            "connection",
        ),
        "/no-http": (raw(b"\x00\x01\x02 not HTTP at all\r\n\r\n"), "bad_response"),
        "/empty": (send(b""), "empty"),
        "/busy": (busy_once, "fetched"),
        "/huge": (send(html("x" * 300_000)), "fetched"),
        "/latin": (send(html("déjà vu " * 20, "latin-1")), "fetched"),
        "/fine": (send(html("a fine page")), "fetched"),
    }
    answers = {path: answer for path, (answer, _) in faults.items()}
    nowhere = "http://127.0.0.1:9/"
    answers["/"] = send(
        links(
            *faults,
            nowhere,
            "http://[::1",
            "http://two words/",
            "mailto:a@b.example",
            "javascript:x()",
            "http://elsewhere.invalid/",
        )
    )
    with serving(answers) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root, max_page_bytes=100_000, max_bad_share=1))
    got = {url.removeprefix(site.root): row.outcome for url, row in log.items()}
    expected = {
        "/": "fetched",
        nowhere: "connection",
        "http://[::1": "malformed_url",
        "http://two words/": "malformed_url",
    }
    assert got == {**expected, **{path: name for path, (_, name) in faults.items()}}
    assert all(row.reason for row in log.values() if row.outcome != "fetched")
    huge = log[f"{site.root}/huge"]
    assert huge.truncated and huge.bytes == 100_000
    assert log[nowhere].reason.startswith("127.0.0.1: ClientConnectorError")
    assert site.hits["/silent"] == 2 and site.hits["/broken"] == 1, "only passing failures are tried again"
    verdicts = verdict_rows(tmp_path)
    assert outcome.rows_in == len(verdicts) == len(log) and outcome.rows_kept == 5
    assert {v["stage"] for v in verdicts} == {"raw_crawl/test"}
    assert all(check.passed for check in outcome.checks)


def test_pages_are_stored_as_they_were_sent(tmp_path: Path) -> None:
    page = html(CHINESE, "gb18030")
    with serving({"/": send(page, Content_Type="text/html; charset=utf-8", X_Kept="yes")}) as site:
        _, log = crawl(tmp_path, crawl_config(site.root))
    (stored,) = read_segment(tmp_path / "warc/part-00000.warc.gz")
    assert stored.payload == page and ("X-Kept", "yes") in stored.headers
    assert log[stored.url].doc_id == document_id(stored.url, page)
    text = gzip.decompress((tmp_path / "warc/part-00000.warc.gz").read_bytes())
    assert b"WARC-Type: warcinfo" in text and b"WARC-Payload-Digest: sha1:" in text


def test_redirects_to_one_page_give_one_document(tmp_path: Path) -> None:
    answers = {
        "/": send(links("/one", "/two")),
        "/one": redirect("/page#part"),
        "/two": redirect("/page"),
        "/page": send(html("the page")),
    }
    with serving(answers) as site:
        outcome, log = crawl(tmp_path, crawl_config(site.root))
    assert outcome.rows_kept == 2 and site.hits["/page"] == 1
    for path in ("/one", "/two"):
        assert log[f"{site.root}{path}"].final_url == f"{site.root}/page"
    twins = {v["twin"] for v in verdict_rows(tmp_path) if v["rule"] == "redirect"}
    assert twins == {log[f"{site.root}/page"].doc_id}


def test_more_redirects_than_allowed_end_there(tmp_path: Path) -> None:
    answers = {"/": redirect("/1"), **{f"/{i}": redirect(f"/{i + 1}") for i in range(1, 9)}}
    with serving(answers) as site:
        _, log = crawl(tmp_path, crawl_config(site.root, max_redirects=3))
    assert log[f"{site.root}/3"].outcome == "too_many_redirects" and "/4" not in site.hits


def test_robots_and_sitemaps_are_obeyed(tmp_path: Path) -> None:
    listed = b"<urlset><url><loc>ROOT/listed</loc></url><url><loc>ROOT/secret/listed</loc></url><url><loc>http://elsewhere.invalid/</loc></url>"
    with serving({}) as site:
        root = site.root.encode()
        site.answers |= {
            "/robots.txt": send(
                b"User-agent: *\nDisallow: /secret\n\nSitemap: " + root + b"/index.xml\n", Content_Type="text/plain"
            ),
            "/index.xml": send(
                b"<sitemapindex><sitemap><loc>" + root + b"/map.xml.gz</loc></sitemap></sitemapindex>",
                Content_Type="application/xml",
            ),
            "/map.xml.gz": send(gzip.compress(listed.replace(b"ROOT", root)), Content_Type="application/gzip"),
            "/": send(links("/secret/door", "/moved")),
            "/moved": redirect("/secret/moved"),
            "/listed": send(html("only in the sitemap")),
        }
        _, log = crawl(tmp_path, crawl_config(site.root))
    assert log[f"{site.root}/listed"].outcome == "fetched"
    for path in ("/secret/door", "/secret/listed", "/secret/moved"):
        assert log[f"{site.root}{path}"].outcome == "robots" and path not in site.hits
    assert not any("elsewhere" in url for url in log)


def test_the_page_limit_cuts_in_url_order_at_any_concurrency(tmp_path: Path) -> None:
    pages = [f"/p{i:02d}" for i in range(30)]
    answers = {"/": send(links(*reversed(pages))), **{p: send(html(p)) for p in pages}, "/p03": send(b"", 404)}
    for concurrency in (1, 16):
        with serving(answers) as site:
            _, log = crawl(
                tmp_path / str(concurrency),
                crawl_config(site.root, max_pages=10, politeness=Politeness(concurrency=concurrency)),
            )
        kept = [url.removeprefix(site.root) for url, row in log.items() if row.outcome == "fetched"]
        assert sorted(kept) == ["/", *(p for p in pages[:10] if p != "/p03")]


def test_depth_is_counted_in_links_from_a_seed(tmp_path: Path) -> None:
    with serving(
        {"/": send(links("/1")), "/1": send(links("/2")), "/2": send(links("/3")), "/3": send(html("deep"))}
    ) as site:
        _, log = crawl(tmp_path, crawl_config(site.root, max_depth=2))
    assert {url.removeprefix(site.root): row.depth for url, row in log.items()} == {"/": 0, "/1": 1, "/2": 2}


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from neo_assets.crawl import crawler
from sites import crawl, crawl_config
crawler.SEGMENT_URLS = 10
crawl(Path({folder!r}), crawl_config({site!r}, politeness={{"timeout_s": 60}}))
"""


def test_a_killed_crawl_resumes_without_asking_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawler, "SEGMENT_URLS", 10)
    pages = [f"/p{i:02d}" for i in range(40)]
    reached, go_on = threading.Event(), threading.Event()

    def trap(request: object) -> None:
        reached.set()
        go_on.wait(30)
        send(html("the trap"))(request)  # type: ignore[arg-type]

    answers = {
        "/": send(links(*pages[:20], "/away")),
        "/away": redirect("/p39"),
        **{p: send(links(*pages[20:], "/gone")) for p in pages},
        "/p15": trap,
    }
    with serving(answers) as site:
        script = KILLED.format(
            tests=str(Path(__file__).parent),
            root=str(Path(__file__).parents[2]),
            folder=str(tmp_path / "killed"),
            site=site.root,
        )
        child = subprocess.Popen([sys.executable, "-c", script])
        (tmp_path / "killed").mkdir(exist_ok=True)
        try:
            assert reached.wait(60), "the crawl never came to the page that it is killed at"
        finally:
            child.kill()
            child.wait()
        finished = {f"/p{i:02d}" for i in range(9)}
        before = site.hits.copy()
        assert before["/p15"] == 1 and all(before[p] == 1 for p in finished)
        go_on.set()
        resumed, log = crawl(tmp_path / "killed", crawl_config(site.root))
        assert all(site.hits[p] == 1 for p in ("/", "/away", *finished)), "finished segments are asked for again"
        whole, whole_log = crawl(tmp_path / "whole", crawl_config(site.root))
    assert resumed.digest == whole.digest and set(log) == set(whole_log)
    assert not list((tmp_path / "killed").rglob("*.tmp"))


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    (folder / "部").mkdir(parents=True)
    (folder / "index.html").write_bytes(links("部/第一.html", "missing.html", "../outside.html"))
    (folder / "部" / "第一.html").write_bytes(html(CHINESE))
    (folder / "alone.html").write_bytes(html("no page leads here"))
    (folder / "secret.txt").write_text("not a page")
    (tmp_path / "outside.html").write_bytes(html("outside"))
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    return folder


def folder_config(folder: Path, **fields: object) -> HtmlFolderSource:
    return HtmlFolderSource.model_validate(
        {
            "kind": "html_folder",
            "path": str(folder),
            "host": "site.example",
            "licence": "CC0-1.0",
            "snapshot": "1",
            **fields,
        }
    )


def test_a_folder_is_crawled_as_a_site_without_a_port_in_its_identity(tmp_path: Path, pages: Path) -> None:
    first, log = crawl(tmp_path / "a", folder_config(pages))
    second, _ = crawl(tmp_path / "b", folder_config(pages, politeness={"concurrency": 1, "delay_s": 30}))
    assert first.digest == second.digest
    kept = {url for url, row in log.items() if row.outcome == "fetched"}
    assert kept == {
        "http://site.example/index.html",
        "http://site.example/alone.html",
        "http://site.example/%E9%83%A8/%E7%AC%AC%E4%B8%80.html",
    }
    assert log["http://site.example/missing.html"].outcome == "http_error"


def test_a_changed_page_changes_the_digest(tmp_path: Path, pages: Path) -> None:
    first, _ = crawl(tmp_path / "a", folder_config(pages))
    (pages / "alone.html").write_bytes(html("another text"))
    second, _ = crawl(tmp_path / "b", folder_config(pages))
    assert first.digest != second.digest
