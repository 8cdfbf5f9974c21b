"""A page becomes its text, or a verdict that says why not."""

from pathlib import Path

import pytest
from pages import commit, crawled, verdicts_of

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.data import Extract
from neo_assets.core.records import read_table, rows
from neo_assets.core.store import Artifact, Check, Workspace
from neo_assets.crawl import stored_pages
from neo_assets.extract.page_text import PageTextInput, extract_pages
from neo_assets.web.warc_files import read_segment

CHINESE = "这是一个用来测试编码的页面，里面有许多汉字，读起来并不费力。" * 6
ENGLISH = "The quick brown fox jumps over the lazy dog and then has a long rest in the shade. " * 5
CONFIG = Extract(extractor="blocks", keep_above=0.5, min_chars=20, max_html_bytes=50_000, max_bad_share=0.5)


def page(body: str, title: str = "A title") -> bytes:
    return f"<html><head><title>{title}</title></head><body><main>{body}</main></body></html>".encode()


def extracted(
    tmp_path: Path, *segments: dict[str, tuple[bytes, str]], config: Extract = CONFIG
) -> tuple[Artifact, dict[str, dict[str, object]]]:
    crawl = crawled(tmp_path / "store", list(segments))
    made = commit(
        tmp_path / "store",
        "page_text/test",
        lambda out: extract_pages(PageTextInput(extract=config), {"raw_crawl": crawl}, out),
        {"raw_crawl": crawl},
    )
    return made, {str(row["url"]): row for path in made.files("text/") for row in rows(read_table(path))}


def test_paragraphs_lists_and_code_keep_their_lines(tmp_path: Path) -> None:
    body = f"<h1>Head</h1><p>{ENGLISH}</p><p>{ENGLISH}</p><pre>for x in y:\n    print(x)</pre>"
    _, texts = extracted(tmp_path, {"http://a.example/": (page(body, " A \n title "), "text/html")})
    row = texts["http://a.example/"]
    assert row["title"] == "A title"
    lines = str(row["text"]).split("\n")
    assert "for x in y:" in [line.strip() for line in lines] and lines.count(ENGLISH.strip()) == 2


def test_a_page_that_lies_about_its_encoding_is_read(tmp_path: Path) -> None:
    payload = page(f"<p>{CHINESE}</p>", "标题").decode().encode("gb18030")
    _, texts = extracted(tmp_path, {"http://a.example/": (payload, "text/html; charset=utf-8")})
    assert CHINESE in str(texts["http://a.example/"]["text"]) and texts["http://a.example/"]["title"] == "标题"


def test_what_gives_no_text_is_dropped_with_its_reason(tmp_path: Path) -> None:
    pages = {
        "http://a.example/good": (page(f"<p>{ENGLISH}</p>"), "text/html"),
        "http://a.example/short": (page("<p>Hi.</p>"), "text/html"),
        "http://a.example/long": (page(f"<p>{ENGLISH * 200}</p>"), "text/html"),
        "http://a.example/binary": (bytes(range(256)) * 20, "text/html"),
    }
    made, texts = extracted(tmp_path, pages)
    assert list(texts) == ["http://a.example/good"]
    verdicts = verdicts_of(made)
    assert {v["rule"]: (v["value"], v["threshold"]) for v in verdicts if v["verdict"] == "dropped"} == {
        "no_main_text": (3, 20),
        "html_too_long": (len(pages["http://a.example/long"][0]), 50_000),
        "unreadable": (None, None),
    }
    assert {v["stage"] for v in verdicts} == {"page_text/test"} and all(c.passed for c in made.verdict)
    assert (made.manifest.rows_in, made.manifest.rows_kept, made.manifest.rows_dropped) == (4, 1, 3)


def test_too_many_unreadable_pages_fail_the_stage_by_name(tmp_path: Path) -> None:
    pages = {
        "http://a.example/bad": (bytes(range(256)) * 20, "text/html"),
        "http://a.example/good": (page(f"<p>{ENGLISH}</p>"), "text/html"),
    }
    with pytest.raises(BadInput, match=r"page_text/test: 1 of 2 pages cannot be read \(50.0%.*http://a.example/bad"):
        extracted(tmp_path, pages, config=CONFIG.model_copy(update={"max_bad_share": 0.1}))


@pytest.mark.parametrize(
    ("weight", "cut_at", "wanted"),
    [
        (0.0, 2, [0, 1, 1, 2]),
        (4.0, 2, [0, 1, 1, 2, 0, 1, 2]),  # in the first look at the site
        (4.0, 5, [0, 1, 2, 0, 1, 1, 2]),  # after it
    ],
)
def test_a_stage_that_was_cut_off_keeps_its_segments_and_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float, cut_at: int, wanted: list[int]
) -> None:
    config = CONFIG.model_copy(update={"site": CONFIG.site.model_copy(update={"weight": weight})})
    segments = [
        {
            f"http://a.example/{i}": (page(f"<p>{i} {ENGLISH}</p>"), "text/html"),
            f"http://a.example/short{i}": (page("x"), "text/html"),
        }
        for i in range(3)
    ]
    crawl = crawled(tmp_path / "store", segments)
    read: list[str] = []

    def failing(path: Path) -> object:
        read.append(path.name)
        if len(read) == cut_at:
            raise KeyboardInterrupt
        return read_segment(path)

    monkeypatch.setattr(stored_pages, "read_segment", failing)
    (tmp_path / "cut").mkdir()
    with pytest.raises(KeyboardInterrupt):
        extract_pages(PageTextInput(extract=config), {"raw_crawl": crawl}, Workspace(tmp_path / "cut"))
    again = extract_pages(PageTextInput(extract=config), {"raw_crawl": crawl}, Workspace(tmp_path / "cut"))
    assert read == [f"part-{i:05d}.warc.gz" for i in wanted]
    monkeypatch.undo()
    (tmp_path / "whole").mkdir()
    whole = extract_pages(PageTextInput(extract=config), {"raw_crawl": crawl}, Workspace(tmp_path / "whole"))
    assert again.digest == whole.digest and again.rows_dropped == whole.rows_dropped == 3


def test_a_fall_of_what_is_kept_of_the_same_pages_is_told(tmp_path: Path) -> None:
    menu = "".join(f'<li><a href="/{i}">Another page {i}</a></li>' for i in range(40))
    body = f"<nav><ul>{menu}</ul></nav><h1>Head</h1><p>{ENGLISH}</p><p>{ENGLISH}</p>"
    crawl = crawled(tmp_path / "store", [{f"http://a.example/{i}": (page(body), "text/html") for i in range(4)}])

    def told(label: str, keep_above: float) -> Check:
        config = PageTextInput(extract=CONFIG.model_copy(update={"keep_above": keep_above, "min_chars": 1}))
        inputs = {"raw_crawl": crawl}
        made = commit(
            tmp_path / "store", "page_text/test", lambda out: extract_pages(config, inputs, out), inputs, label
        )
        return next(check for check in made.verdict if check.name == "kept_as_before")

    first, same, less = told("1", 0.0), told("2", 0.0), told("3", 0.5)
    assert first.passed and "no earlier version" in first.detail
    assert same.passed and "of 4 pages" in same.detail and "from 1.000 to 1.000" in same.detail
    assert not less.passed and not less.blocking and "from 1.000 to 0." in less.detail
