"""Documents become text in reading order, page by page with what tells whether to believe it, and broken ones are
named.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest

from neo_assets.core.recipe.data import Convert
from neo_assets.core.recipe.sources import BooksSource
from neo_assets.core.records import read_table, rows
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, input_refs
from neo_assets.crawl.books_source import read_books_source
from neo_assets.crawl.catalogue import read_source_input
from neo_assets.extract.convert import ocr, other_kinds, run
from neo_assets.extract.convert.joining import joined_pages
from neo_assets.extract.convert.page_layout import Run, ordered_lines
from neo_assets.extract.convert.pages import ConvertedPage
from neo_assets.extract.convert.paragraphs import joined, vocabulary
from neo_assets.extract.convert.pdf_text_layer import _runs, text_layer
from neo_assets.extract.pdf_text import PdfTextInput, convert_documents
from tests.small_pdf import Page, bomb, pdf, written

WORDS = [
    "people",
    "who",
    "read",
    "a",
    "page",
    "go",
    "down",
    "one",
    "column",
    "and",
    "then",
    "down",
    "the",
    "next",
    "one",
    "and",
    "never",
    "across",
    "both",
    "of",
    "them",
    "while",
    "a",
    "program",
    "that",
    "reads",
    "what",
    "the",
    "file",
    "draws",
    "may",
    "see",
    "the",
    "lines",
    "in",
    "any",
    "order",
    "at",
    "all",
    "and",
    "join",
    "what",
    "never",
    "belonged",
    "together",
]
HANZI = "人们阅读一页时先读完一栏再读下一栏从不横着读而程序看到的是文件绘制的顺序可能是任何顺序把不相干的内容连在一起"


def lines_of(seed: int, count: int, chinese: bool = False) -> list[str]:
    """Lines of prose, all about as long, of words that say which column they are of."""
    generator = random.Random(seed)
    if chinese:
        return ["".join(generator.choice(HANZI) for _ in range(22)) for _ in range(count)]
    out = []
    for _ in range(count):
        line = ""
        while len(line) < 40:
            line += generator.choice(WORDS) + " "
        out.append(line.strip())
    return out


def columns_page(columns: list[list[str]], how: str, header: str = "", number: int = 0) -> Page:
    width = 500 / len(columns)
    pieces = [
        (50 + c * (width + 10), 740 - 14 * i, line) for c, lines in enumerate(columns) for i, line in enumerate(lines)
    ]
    if how == "rows":
        pieces.sort(key=lambda piece: (-piece[1], piece[0]))
    elif how == "shuffled":
        random.Random(1).shuffle(pieces)
    running = [(50.0, 800.0, header), (290.0, 30.0, str(number))] if header else []
    return Page([*running, *pieces], size=10 if len(columns) < 3 else 7)


def converted(tmp_path: Path, files: dict[str, bytes], **fields: object) -> tuple[Artifact, dict[str, str]]:
    """The artifact, and the text by file, parts joined."""
    folder = tmp_path / "in"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    source = BooksSource.model_validate(
        {"kind": "books", "licence": "CC0-1.0", "snapshot": "1", "paths": [str(folder)], "max_bad_share": 1}
    )
    store = Store(tmp_path / "store")

    def build(key: str, config: dict[str, object], work: object, inputs: dict[str, Artifact]) -> Artifact:
        made_from = MadeFrom(config=config, code={}, libraries={}, inputs=input_refs(inputs, {}))
        return store.build(key, made_from, work)[0]  # type: ignore[arg-type]

    described = read_source_input(source).model_dump(mode="json")
    sources = build("sources/test", described, lambda _: Outcome(digest="d"), {})
    held = {"sources": sources}
    crawl = build("raw_crawl/test", described, lambda out: read_books_source(source, held, out), held)
    config = PdfTextInput(convert=Convert.model_validate({"ocr": False, **fields}), max_bad_share=1, in_place=source)
    read = {"raw_crawl": crawl}
    made = build("pdf_text/test", dict(fields), lambda out: convert_documents(config, read, out), read)
    found: dict[str, list[tuple[int, str]]] = {}
    for path in made.files("text/"):
        for row in rows(read_table(path)):
            name, _, pages = str(row["url"]).partition("#pages=")
            found.setdefault(name, []).append((int(pages.partition("-")[0] or 0), str(row["text"])))
    return made, {name: "\n".join(text for _, text in sorted(parts)) for name, parts in found.items()}


def page_rows(made: Artifact) -> list[dict[str, object]]:
    return [row for path in made.files("pages/") for row in rows(read_table(path))]


def verdicts(made: Artifact) -> dict[str, dict[str, object]]:
    return {str(row["detail"]).partition(":")[0].partition(",")[0]: row for row in rows(made.table("verdicts.parquet"))}


@pytest.mark.parametrize("how", ["columns", "rows", "shuffled"])
@pytest.mark.parametrize("chinese", [False, True], ids=["en", "zh"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_columns_are_read_one_after_another_however_the_file_draws_them(
    tmp_path: Path, how: str, chinese: bool, count: int
) -> None:
    columns = [lines_of(10 * count + c, 30, chinese) for c in range(count)]
    if count == 3:
        columns = [[line[:20] if chinese else line[:38] for line in column] for column in columns]
    layer = text_layer(pdfium.PdfDocument(pdf([columns_page(columns, how)]))[0])
    found = ["".join(line.text.split()) for line in ordered_lines(layer.runs)]
    assert found == ["".join(line.split()) for column in columns for line in column]


def test_a_title_over_columns_comes_first_and_rows_of_a_table_are_read_across() -> None:
    left, right = lines_of(1, 12), lines_of(2, 12)
    pieces = [(120.0, 780.0, "A title that stands over both of the columns of this page, all across")]
    pieces += [(50.0, 740 - 14 * i, line) for i, line in enumerate(left)]
    pieces += [(320.0, 740 - 14 * i, line) for i, line in enumerate(right)]
    table = [("name", "unit", "value"), ("mass", "kg", "12"), ("length", "m", "3.5"), ("time", "s", "60")]
    pieces += [(60 + 160 * c, 500 - 14 * i, cell) for i, row in enumerate(table) for c, cell in enumerate(row)]
    random.Random(2).shuffle(pieces)
    layer = text_layer(pdfium.PdfDocument(pdf([Page(pieces)]))[0])
    found = [line.text for line in ordered_lines(layer.runs)]
    title = "A title that stands over both of the columns of this page, all across"
    assert found == [title, *left, *right, *map("\t".join, table)]


def test_headers_footers_and_numbers_go_and_body_lines_stay(tmp_path: Path) -> None:
    pages = [[lines_of(20 + p, 40)] for p in range(6)]
    content = pdf(
        [columns_page(page, "columns", f"The whole book, chapter {p // 2}", p + 1) for p, page in enumerate(pages)]
    )
    made, texts = converted(tmp_path, {"book.pdf": content})
    plain = "".join(texts["book.pdf"].split())
    assert plain == "".join("".join(line.split()) for page in pages for line in page[0])
    told = page_rows(made)
    assert [row["left_out"] for row in told] == [[f"The whole book, chapter {p // 2}", str(p + 1)] for p in range(6)]
    assert all(row["trusted"] and row["engine"] == "text" and float(str(row["agreement"])) > 0.99 for row in told)


def test_hyphens_of_line_ends_go_where_the_word_is_whole_elsewhere(tmp_path: Path) -> None:
    lines = [
        "The administrators of a machine know that well-known programs",
        "are kept by people, and that admini-",
        "strators keep well-",
        "known programs; see http://a.example/some-",
        "where for the details of the pro-",
        "gress that was made by them.",
    ]
    padded = [(50.0, 740 - 14 * i, line) for i, line in enumerate(lines)]
    _, texts = converted(tmp_path, {"a.pdf": pdf([Page(padded)])})
    text = texts["a.pdf"].replace("\n", " ")
    assert "that administrators" in text and "progress that" in text
    assert "well-known programs;" in text and "some-where" in text


def test_a_paragraph_goes_on_over_the_end_of_a_page(tmp_path: Path) -> None:
    first, second = lines_of(5, 45), lines_of(6, 20)
    first[-1] = "and this line is not the end of it, since its very last"
    second[0] = "word stands on the next page. Here is another sentence"
    _, texts = converted(tmp_path, {"a.pdf": pdf([columns_page([p], "columns") for p in (first, second)])})
    assert "its very last word stands on the next page." in texts["a.pdf"]


def test_pages_that_nothing_confirms_are_left_out_by_name(tmp_path: Path) -> None:
    good = columns_page([lines_of(1, 30)], "columns")
    private = Page([(50.0, 700 - 14 * i, "\ue001\ue002\ue003" * 10) for i in range(10)])
    scan = Page([])
    scanned = pdf([good, private, good])
    made, texts = converted(tmp_path, {"a.pdf": scanned, "blank.pdf": pdf([scan])})
    told = {(row["url"], row["page"]): row for row in page_rows(made)}
    assert told["a.pdf", 2]["reason"] == "100% of its text layer is broken, and nothing here recognises pages"
    assert told["blank.pdf", 1]["engine"] == "blank" and told["blank.pdf", 1]["trusted"]
    assert "\ue001" not in texts["a.pdf"]
    rules = {str(v["rule"]): v for v in rows(made.table("verdicts.parquet"))}
    assert rules["pages_left_out"]["detail"].startswith("page 2: 100% of its text layer")  # type: ignore[attr-defined]
    assert rules["no_trusted_page"]["verdict"] == "dropped"


def test_an_order_that_no_other_reader_has_is_not_believed(tmp_path: Path) -> None:
    columns = [lines_of(1, 30), lines_of(2, 30)]
    content = pdf([columns_page(columns, "shuffled")])
    made, _ = converted(tmp_path, {"a.pdf": content})
    (row,) = page_rows(made)
    assert row["trusted"], "pdf-oxide reads it in the same order"
    made, texts = converted(tmp_path, {"a.pdf": content}, min_agreement=1.0)
    (row,) = page_rows(made)
    if float(str(row["agreement"])) < 1:
        assert not row["trusted"] and "two readers agree" in str(row["reason"]) and texts == {}


def test_a_formula_that_stands_apart_is_marked_and_counted(tmp_path: Path) -> None:
    lines = lines_of(1, 12)
    pieces = [(50.0, 740 - 14 * i, line) for i, line in enumerate(lines[:6])]
    pieces += [(140.0, 640.0, "E = m c^2 + p_1 + p_2")]
    pieces += [(50.0, 610 - 14 * i, line) for i, line in enumerate(lines[6:])]
    made, texts = converted(tmp_path, {"a.pdf": pdf([Page(pieces)])})
    assert "[formula]" in texts["a.pdf"].split("\n") and "m c^2" not in texts["a.pdf"]
    assert made.manifest.numbers["formulas"] == 1


def test_a_caption_and_a_footnote_stay_where_they_stand(tmp_path: Path) -> None:
    left, right = lines_of(1, 24), lines_of(2, 24)
    left[10] = "Figure 1: what this column is about, told"
    pieces = [(50.0, 740 - 14 * i, line) for i, line in enumerate(left)]
    pieces += [(320.0, 740 - 14 * i, line) for i, line in enumerate(right)]
    pieces += [
        (50.0, 370.0, "1. A note at the foot of the left column."),
        (320.0, 370.0, "2. A note at the foot of the right one."),
    ]
    random.Random(4).shuffle(pieces)
    _, texts = converted(tmp_path, {"a.pdf": pdf([Page(pieces)])})
    text = texts["a.pdf"]
    order = [text.index(part) for part in ("Figure 1:", "1. A note", right[0][:12], "2. A note")]
    assert order == sorted(order)


def test_marks_of_footnotes_are_no_digits_of_what_they_follow(tmp_path: Path) -> None:
    lines = lines_of(1, 8)
    runs = [Run(50, 700 - 14 * i, 260, 710 - 14 * i, line) for i, line in enumerate(lines)]
    runs += [
        Run(50, 560, 200, 570, "the SONAME ABI version 1."),
        Run(200, 565, 206, 571.5, "3"),
        Run(50, 540, 80, 550, "10"),
    ]
    runs += [Run(80, 545, 86, 551.5, "6"), Run(90, 540, 140, 550, "bytes")]
    found = [line.text for line in ordered_lines(runs)]
    assert found[-2:] == ["the SONAME ABI version 1.[3]", "10^6 bytes"]


def test_addresses_and_names_that_a_line_breaks_are_whole(tmp_path: Path) -> None:
    lines = [
        "see the pages at http://www.a.example/-",
        "doc/policy and at http://a.example/wide-",
        "spread, and unpack the file gentoo-0.9.12.",
        "tar from there; then read on as usual here.",
    ]
    pieces = [(50.0, 740 - 14 * i, line) for i, line in enumerate(lines)]
    _, texts = converted(tmp_path, {"a.pdf": pdf([Page(pieces)])})
    text = texts["a.pdf"].replace("\n", " ")
    assert "http://www.a.example/doc/policy" in text and "http://a.example/wide-spread" in text
    assert "gentoo-0.9.12.tar from" in text


def test_a_table_of_contents_is_left_out_and_told(tmp_path: Path) -> None:
    pieces = [(50.0, 740 - 14 * i, line) for i, line in enumerate(lines_of(1, 6))]
    pieces += [(50.0, 600 - 14 * i, f"{i}.1 A chapter of it . . . . . . . . . . . . {i * 7}") for i in range(1, 5)]
    made, texts = converted(tmp_path, {"a.pdf": pdf([Page(pieces)])})
    assert "A chapter" not in texts["a.pdf"]
    (row,) = page_rows(made)
    assert [str(line)[:3] for line in row["left_out"]] == ["1.1", "2.1", "3.1", "4.1"]  # type: ignore[union-attr]


def test_documents_that_cannot_be_read_stop_a_build_that_does_not_allow_it(tmp_path: Path) -> None:
    made, _ = converted(tmp_path, {"none.pdf": b"this is no PDF" * 20})
    check = next(check for check in made.verdict if check.name == "documents_read")
    assert check.blocking and not check.passed and "no text came of any; the first: none.pdf" in check.detail


def broken_files() -> dict[str, tuple[bytes, str]]:
    sound = pdf([columns_page([lines_of(1, 20)], "columns")] * 3)
    return {
        "cut.pdf": (sound[: len(sound) // 2], "Failed to load document"),
        "none.pdf": (b"this is no PDF" * 20, "Failed to load document"),
        "loop.pdf": (
            written([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"]),
            "page 1: the page cannot be read",
        ),
        "torn.epub": (b"PK\x03\x04 and no more", "BadZipFile"),
        "no.docx": (b"no archive", "pandoc: couldn't unpack docx"),
        "binary.txt": (b"\x00\x01" * 60, "the file is binary"),
    }


def test_broken_files_are_named_and_cost_only_themselves(tmp_path: Path) -> None:
    files = {name: content for name, (content, _) in broken_files().items()}
    files |= {"fine.pdf": pdf([columns_page([lines_of(1, 20)], "columns")]), "empty.pdf": b""}
    made, texts = converted(tmp_path, files)
    assert set(texts) == {"fine.pdf"}
    told = verdicts(made)
    for name, (_, reason) in broken_files().items():
        assert told[name]["verdict"] == "dropped" and reason in str(told[name]["detail"]), name
    assert made.manifest.rows_in == made.manifest.rows_kept + made.manifest.rows_dropped == 7  # type: ignore[operator]
    assert all(check.passed for check in made.verdict if check.blocking)


def test_a_page_that_eats_memory_ends_its_reader_and_not_the_stage(tmp_path: Path) -> None:
    made, texts = converted(
        tmp_path, {"bomb.pdf": bomb(), "fine.pdf": pdf([columns_page([lines_of(1, 20)], "columns")])}, max_memory_mb=300
    )
    assert set(texts) == {"fine.pdf"}
    (row,) = [row for row in page_rows(made) if row["url"] == "bomb.pdf"]
    assert row["reason"] == "reading it ended the reader, or took too long" and row["page"] == 1


def test_a_conversion_that_was_killed_goes_on_after_its_last_window(tmp_path: Path) -> None:
    pages = [columns_page([lines_of(p, 30)], "columns") for p in range(130)]
    script = (
        f"import sys; from pathlib import Path; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from test_pdf_text import converted\n"
        f"converted(Path({str(tmp_path)!r}), {{}}, page_seconds=60.0)\n"
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in/book.pdf").write_bytes(pdf(pages))
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    held: list[Path] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (held and held[0].read_text().count("\n") > 55):
        held = list((tmp_path / "store").rglob("converted/*.jsonl"))
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert held, "the conversion never began"
    before = held[0].read_text().splitlines() if held[0].is_file() else []
    made, texts = converted(tmp_path, {}, page_seconds=60.0)
    whole, whole_texts = converted(tmp_path / "whole", {"book.pdf": pdf(pages)}, page_seconds=60.0)
    assert made.manifest.digest == whole.manifest.digest and texts == whole_texts
    assert len(before) >= 50, "it was killed before a window was finished"


def epub(chapters: list[str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(f'<item id="c{i}" href="c%20{i}.xhtml"/>' for i in range(len(chapters)))
        spine = "".join(f'<itemref idref="c{i}"/>' for i in reversed(range(len(chapters))))
        book.writestr(
            "OPS/book.opf",
            f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>',
        )
        for i, chapter in enumerate(chapters):
            book.writestr(f"OPS/c {i}.xhtml", f"<html><body>{chapter}</body></html>")
    return stream.getvalue()


def test_plain_text_is_read_as_in_a_child_and_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{i}.txt": f"第{i}行\r\n  second \n".encode("gb18030" if i % 2 else "utf-8") for i in range(9)}
    files |= {"empty.txt": b"", "binary.txt": b"\x00\x01" * 60}
    monkeypatch.setattr(run, "PLAIN_BYTES", -1)
    made, texts = converted(tmp_path / "child", files)
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(run.subprocess, "Popen", None)
        here, same = converted(tmp_path / "here", files)
    assert len(texts) == 9 and same == texts
    assert here.manifest.digest == made.manifest.digest

    def decided(artifact: Artifact) -> dict[str, tuple[object, object]]:
        return {name: (row["verdict"], row["detail"]) for name, row in verdicts(artifact).items()}

    assert decided(here) == decided(made)
    assert "the file is binary" in str(verdicts(here)["binary.txt"]["detail"])


def test_other_kinds_are_read(tmp_path: Path) -> None:
    import pypandoc

    source = "# A heading\n\nA paragraph with *emphasis*, 中文 and a table:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    files = {
        "a.md": source.encode(),
        "b.txt": "第一行\r\n第二行".encode("gb18030"),
        "c.tex": b"\\section{Head} Text and $x^2$.",
    }
    for kind in ("docx", "odt"):
        pypandoc.convert_text(source, kind, format="gfm", outputfile=str(tmp_path / f"made.{kind}"))
        files[f"d.{kind}"] = (tmp_path / f"made.{kind}").read_bytes()
    files["e.epub"] = epub(
        ["<p>the second chapter</p>", "<h1>The first</h1><p>chapter <b>of</b> it</p><nav>and all</nav>"]
    )
    made, texts = converted(tmp_path, files)
    for name in ("a.md", "d.docx", "d.odt"):
        assert (
            "A paragraph with emphasis, 中文 and a table:" in texts[name].replace("\n", " ") and "*" not in texts[name]
        )
    assert texts["b.txt"] == "第一行\n第二行"
    assert "Head" in texts["c.tex"] and "Text and" in texts["c.tex"]
    assert texts["e.epub"].split("\n")[0] == "The first" and texts["e.epub"].endswith("the second chapter")
    assert {row["engine"] for row in page_rows(made)} == {"pandoc", "plain", "epub"}


def test_pandoc_is_ended_before_who_waits_for_it_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypandoc

    assert other_kinds.PANDOC_SECONDS < run.START_SECONDS
    program = tmp_path / "pandoc"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(pypandoc, "get_pandoc_path", lambda: str(program))
    monkeypatch.setattr(other_kinds, "PANDOC_SECONDS", 0.5)
    (tmp_path / "a.tex").write_text("Text")
    with pytest.raises(other_kinds.NotRead, match=r"pandoc took more than 0\.5 s"):
        list(other_kinds.convert(tmp_path / "a.tex", ".tex"))


def test_a_word_that_is_broken_at_the_end_of_a_page_is_judged_by_the_document() -> None:
    pages = [
        ConvertedPage(0, "The well-known factory makes a well-", open=True),
        ConvertedPage(1, "known claim, which one can check in one com-", open=True),
        ConvertedPage(2, "mand. 一个完整的", open=True),
        ConvertedPage(3, "段落。"),
    ]
    assert joined_pages(pages) == [
        ("The well-known factory makes a well-known claim, which one can check in one command. 一个完整的段落。", 0)
    ]


def test_names_keep_the_hyphens_that_a_line_ends_with() -> None:
    words = vocabulary(["nothing of it"])
    assert joined("the box autopkgtest-bullseye-", "amd64 of it", words) == (
        "the box autopkgtest-bullseye-amd64 of it",
        0,
    )
    assert joined("an amd-", "k6 of it", words) == ("an amd-k6 of it", 0)
    assert joined("a state-of-the-", "art thing", words) == ("a state-of-the-art thing", 0)
    assert joined("a fac-", "tory of it", words) == ("a factory of it", 1)


def test_columns_at_half_a_lines_distance_keep_their_lines() -> None:
    """Lines of the second column stand half a line higher; pieces of the first one's are not quite level."""
    left, right = lines_of(5, 20), lines_of(6, 20)
    runs = [Run(320.0, 705.5 - 14 * i, 540.0, 715.5 - 14 * i, line) for i, line in enumerate(right)]
    for i, line in enumerate(left):
        head, _, tail = line.partition(" ")
        runs.append(Run(50.0, 700.1 - 14 * i, 90.0, 710.1 - 14 * i, head))
        runs.append(Run(95.0, 699.9 - 14 * i, 290.0, 709.9 - 14 * i, tail))
    assert [line.text for line in ordered_lines(runs)] == [*left, *right]


def test_a_full_width_mark_that_hangs_into_the_white_between_columns_joins_nothing() -> None:
    letters = [("中", 100.0), ("。", 110.0), ("a", 124.0), ("b", 129.5)]
    places = [[x, 100.0, x + (10 if ord(c) > 200 else 5.5), 110.0] for c, x in letters]
    assert [run.text for run in _runs("".join(c for c, _ in letters), np.array(places))] == ["中。", "ab"]


def test_a_book_is_cut_into_parts_and_the_first_is_found_by_the_files_id(tmp_path: Path) -> None:
    made, _ = converted(
        tmp_path, {"b.pdf": pdf([columns_page([lines_of(p, 45)], "columns") for p in range(9)])}, part_chars=4000
    )
    parts = [row for path in made.files("text/") for row in rows(read_table(path))]
    assert 3 <= len(parts) <= 5 and all(2500 < len(str(row["text"])) < 6500 for row in parts)
    told = {str(v["doc_id"]): v for v in rows(made.table("verdicts.parquet"))}
    assert set(told) == {row["doc_id"] for row in parts}
    (first,) = [v for v in told.values() if v["verdict"] == "edited"]
    assert first["rule"] == "cut_into_parts" and f"{len(parts)} parts of it" in str(first["detail"])


SMALL = [
    (60.0, 700 - 30 * i, line)
    for i, line in enumerate(["A page that was scanned,", "with hardly any text on it,", "is read by what it shows."])
]


def scanned(page: Page) -> bytes:
    """A PDF of the picture of a page."""
    image = pdfium.PdfDocument(pdf([page]))[0].render(scale=150 / 72, grayscale=True).to_pil()
    stream = io.BytesIO()
    image.save(stream, "PDF", resolution=150)
    return stream.getvalue()


def test_scans_are_recognised_and_lines_that_were_missed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = scanned(Page(SMALL, size=16))
    made, texts = converted(tmp_path, {"scan.pdf": content}, ocr=True)
    (row,) = page_rows(made)
    assert row["engine"] == "ocr" and row["trusted"] and row["ink_outside"] == 0.0
    assert texts["scan.pdf"].replace("\n", " ") == " ".join(line for _, _, line in SMALL)
    # The same page with one of its lines never seen, whatever the confidence.
    page = pdfium.PdfDocument(content)[0]
    engine = ocr._engine()

    class Blind:
        def __call__(self, image: object) -> object:
            found = engine(image)
            found.boxes, found.txts, found.scores = found.boxes[:-1], found.txts[:-1], found.scores[:-1]
            return found

    monkeypatch.setattr(ocr, "_engine", Blind)
    _, confidence, outside = ocr.recognised(page, 150)
    assert confidence > 0.9 and outside > 0.1


def test_a_skewed_page_is_read_as_if_it_were_straight() -> None:
    box = np.array([[100, 100], [500, 117.5], [498, 157.5], [98, 140]], np.float32)
    skew = ocr._skew([box])
    x0, y0, x1, y1 = ocr._upright(box, skew, (1000, 800))
    assert abs(np.degrees(skew) - 2.5) < 0.1 and 35 < y1 - y0 < 45 and 395 < x1 - x0 < 405


def test_what_is_drawn_twice_is_read_once() -> None:
    pieces = [(50.0, 700.0, "bold by force"), (50.2, 700.0, "bold by force")]
    layer = text_layer(pdfium.PdfDocument(pdf([Page(pieces)]))[0])
    assert [line.text for line in ordered_lines(layer.runs)] == ["bold by force"]


def test_a_turned_page_is_read_as_it_is_looked_at() -> None:
    lines = lines_of(3, 10)
    content = pdf([Page([(50.0, 700 - 14 * i, line) for i, line in enumerate(lines)], rotate=180)])
    layer = text_layer(pdfium.PdfDocument(content)[0])
    assert isinstance(layer.runs[0], Run) and json.dumps([r.text for r in layer.runs])
