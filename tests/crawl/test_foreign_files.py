"""Files made by others are read as far as they are good; what is bad is named with its place."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType
from sites import html, upstream

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.data import DocumentsSource, WarcSource
from neo_assets.core.records import read_table, rows
from neo_assets.core.store import Outcome, Workspace
from neo_assets.crawl.documents_source import read_documents_source
from neo_assets.crawl.warc_source import read_warc_source
from neo_assets.web.fetch_log import LogRow, read_log
from neo_assets.web.warc_files import read_segment


def record(url: str, http: bytes) -> WarcRecord:
    made = WarcRecord()
    made.init_headers(WarcRecordType.response)
    made.headers["WARC-Target-URI"] = url
    made.headers["Content-Type"] = "application/http; msgtype=response"
    made.set_bytes_content(http)
    return made


def ok(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + extra + b"\r\n" + body


def plain(*records: WarcRecord) -> bytes:
    stream = io.BytesIO()
    for r in records:
        r.write(stream, checksum_data=True)
    return stream.getvalue()


def zipped(*records: WarcRecord) -> list[bytes]:
    """One gzip member a record."""
    members = []
    for r in records:
        stream = io.BytesIO()
        writer = GzipWriter(stream)
        r.write(writer, checksum_data=True)
        writer.finish()
        writer.flush()
        members.append(stream.getvalue())
    return members


def read_warcs(folder: Path, *names: str, **fields: int) -> tuple[Outcome, list[LogRow], dict[str, bytes]]:
    config = WarcSource.model_validate(
        {"kind": "warc", "licence": "CC0-1.0", "snapshot": "1", "paths": [str(folder / n) for n in names], **fields}
    )
    out = folder / "out"
    out.mkdir(exist_ok=True)
    outcome = read_warc_source(config, upstream(config), Workspace(out))
    log = [row for path in sorted((out / "log").iterdir()) for row in read_log(path)]
    return outcome, log, {r.url: r.payload for path in sorted((out / "warc").iterdir()) for r in read_segment(path)}


def good() -> list[WarcRecord]:
    """Four sound records; a record can be written once."""
    return [record(f"http://a.example/{i}", ok(html(f"page {i}"))) for i in range(4)]


def test_good_records_are_copied_and_others_named(tmp_path: Path) -> None:
    chunked = record("http://a.example/chunked", ok(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"))
    missing = record("http://a.example/gone", b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\nno")
    picture = record("http://a.example/png", b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG")
    (tmp_path / "a.warc").write_bytes(plain(*good(), chunked, missing, picture))
    outcome, log, pages = read_warcs(tmp_path, "a.warc")
    assert (
        pages["http://a.example/0"] == html("page 0")
        and pages["http://a.example/chunked"] == b"hello"
        and len(pages) == 5
    )
    assert {r.url.rpartition("/")[2]: r.outcome for r in log if r.outcome != "fetched"} == {
        "gone": "http_error",
        "png": "not_html",
    }
    assert (outcome.rows_in, outcome.rows_kept, outcome.rows_dropped) == (7, 5, 2)


@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_record_costs_only_itself(tmp_path: Path, packed: bool) -> None:
    if packed:
        members = zipped(*good())
        members[1] = members[1][:60] + bytes(8) + members[1][68:]
        (tmp_path / "a.warc.gz").write_bytes(b"".join(members))
    else:
        (tmp_path / "a.warc").write_bytes(
            plain(*good()).replace(b"WARC/1.1\r\n", b"BROKEN\r\n", 2).replace(b"BROKEN\r\n", b"WARC/1.1\r\n", 1)
        )
    outcome, log, pages = read_warcs(tmp_path, "a.warc*")
    assert sorted(pages) == ["http://a.example/0", "http://a.example/2", "http://a.example/3"]
    bad = [r for r in log if r.outcome == "malformed_record"]
    assert bad and all("a.warc" in r.reason and "at byte" in r.reason for r in bad)
    assert outcome.rows_kept == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (plain(*good())[:-60], "ends after"),
        (plain(*good()).replace(b"page 3", b"page X"), "WARC-Block-Digest"),
        (plain(*good(), record("http://a.example/x", b"\x00\x01 no HTTP")), "no HTTP response"),
        (plain(*good(), record("not a url", ok(b"<p>x"))), "WARC-Target-URI"),
        (b"", "empty"),
        (b"this is no WARC file\n" * 9, "WARC"),
        (gzip.compress(b"neither is this\n" * 9, mtime=0), "WARC"),
    ],
)
def test_malformed_records_are_quarantined_with_file_and_offset(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.warc").write_bytes(content)
    (tmp_path / "good.warc").write_bytes(plain(*good()))
    outcome, log, _ = read_warcs(tmp_path, "bad.warc", "good.warc")
    bad = [r for r in log if r.outcome == "malformed_record"]
    assert len(bad) == 1 and reason in bad[0].reason and bad[0].reason.startswith("bad.warc at byte ")
    assert (outcome.rows_kept or 0) >= 4 and all(c.passed for c in outcome.checks)


def test_a_record_or_a_body_that_inflates_without_end_is_named_and_costs_only_itself(tmp_path: Path) -> None:
    endless = gzip.compress(bytes(5_000_000))
    bomb = record("http://a.example/bomb", ok(endless, b"Content-Encoding: gzip\r\n"))
    long = record("http://a.example/long", ok(bytes(3_000_000)))
    (tmp_path / "a.warc.gz").write_bytes(
        b"".join(zipped(*good()[:2], bomb, long, record("http://a.example/last", ok(html("last")))))
    )
    outcome, log, pages = read_warcs(tmp_path, "a.warc.gz", max_record_bytes=1_000_000)
    assert sorted(url.rpartition("/")[2] for url in pages) == ["0", "1", "last"]
    reasons = sorted(r.reason for r in log if r.outcome == "malformed_record")
    assert (
        len(reasons) == 2
        and "http://a.example/long is 3,000,0" in reasons[0]
        and "max_record_bytes is 1,000,000" in reasons[0]
    )
    assert "the body of http://a.example/bomb inflates to more than 1,000,000 bytes" in reasons[1]
    assert outcome.rows_dropped == 2


def test_a_line_that_does_not_end_is_named_and_costs_only_itself(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "d.jsonl.gz", "wb") as stream:
        stream.write(
            b'{"text": "first"}\n{"text": "' + b"x" * 5000 + b'"}\n{"text": "last"}\n{"text": "' + b"y" * 50_000
        )
    _, kept, bad = read_documents(tmp_path, "d.jsonl.gz", max_record_bytes=1000)
    assert sorted(str(r["text"]) for r in kept) == ["first", "last"]
    assert [r.reason for r in bad] == [
        "d.jsonl.gz record 2: is longer than 1,000 bytes (max_record_bytes)",
        "d.jsonl.gz record 4: is longer than 1,000 bytes (max_record_bytes); the rest of the file was not read",
    ]


def read_documents(
    folder: Path, *names: str, **fields: object
) -> tuple[Outcome, list[dict[str, object]], list[LogRow]]:
    config = DocumentsSource.model_validate(
        {
            "kind": "documents",
            "licence": "CC0-1.0",
            "snapshot": "1",
            "paths": [str(folder / n) for n in names],
            **fields,
        }
    )
    out = folder / "out"
    out.mkdir(exist_ok=True)
    outcome = read_documents_source(config, upstream(config), Workspace(out))
    kept = [row for path in sorted((out / "rows").iterdir()) for row in rows(read_table(path))]
    return (
        outcome,
        kept,
        [row for path in sorted((out / "log").iterdir()) for row in read_log(path) if row.outcome != "fetched"],
    )


def test_bad_json_lines_are_dropped_with_file_and_record_number(tmp_path: Path) -> None:
    lines: list[tuple[bytes, str]] = [
        (b'{"text": "fine", "url": "http://a.example/"}', ""),
        (b'{"text": "no address"}', ""),
        (b'{"url": "http://a.example/x"}', "'text' is missing"),
        (b'{"text": 7}', "is int, not text"),
        (b'{"text": "a", "url": ["b"]}', "'url' is list"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b'{"text": "a\\ud800b"}', "lone surrogate"),
        (b'{"text": "torn', "not JSON"),
        (b"[1, 2]", "is a list"),
        (b'{"text": "\xff\xfe"}', "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
    ]
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(line for line, _ in lines))
    outcome, kept, bad = read_documents(tmp_path, "d.jsonl")
    assert sorted(str(r["url"]) for r in kept) == ["d.jsonl#2", "http://a.example/"]
    by_place = {r.url: r.reason for r in bad}
    for number, (_, reason) in enumerate(lines, 1):
        assert bool(reason) == (f"d.jsonl#{number}" in by_place)
        assert reason in by_place.get(f"d.jsonl#{number}", "")
    dropped = [v for v in rows(read_table(tmp_path / "out/verdicts.parquet")) if v["verdict"] == "dropped"]
    assert len(dropped) == outcome.rows_dropped == 9 and all("d.jsonl record " in str(v["detail"]) for v in dropped)


def test_mistyped_parquet_rows_are_dropped_and_a_torn_file_is_named(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [1, 2], "url": ["http://a.example/1", "http://a.example/2"]}), tmp_path / "a.parquet"
    )
    pq.write_table(pa.table({"body": ["other column"]}), tmp_path / "b.parquet")
    pq.write_table(
        pa.table({"text": ["good", None], "url": ["http://a.example/3", "http://a.example/4"]}), tmp_path / "c.parquet"
    )
    (tmp_path / "d.parquet").write_bytes((tmp_path / "c.parquet").read_bytes()[:-9])
    outcome, kept, bad = read_documents(tmp_path, "*.parquet")
    assert [r["text"] for r in kept] == ["good"] and outcome.rows_dropped == 5
    reasons = {r.url: r.reason for r in bad}
    assert (
        "int" in reasons["a.parquet#1"] and "missing" in reasons["b.parquet#1"] and "missing" in reasons["c.parquet#2"]
    )
    assert "cannot be read" in reasons["d.parquet#1"]


def test_parquet_and_json_lines_of_the_same_rows_have_the_same_digest(tmp_path: Path) -> None:
    data = [{"text": f"文 {i}", "url": f"http://a.example/{i}"} for i in range(5)]
    for name in ("p", "j"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.Table.from_pylist(data), tmp_path / "p/x.parquet")
    with gzip.open(tmp_path / "j/x.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in reversed(data))
    assert (
        read_documents(tmp_path / "p", "x.parquet")[0].digest == read_documents(tmp_path / "j", "x.jsonl.gz")[0].digest
    )


def test_files_that_are_not_there_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file matches"):
        read_documents(tmp_path, "*.jsonl")
    (tmp_path / "a.csv").write_text("text\nx")
    with pytest.raises(BadInput, match=r"a\.csv"):
        read_documents(tmp_path, "a.csv")


def test_bodies_that_contradict_their_headers_are_read(tmp_path: Path) -> None:
    body = html("as the crawler had decoded it")
    kinds = {
        "plain-chunked": ok(body, b"Transfer-Encoding: chunked\r\n"),
        "plain-gzip": ok(body, b"Content-Encoding: gzip\r\n"),
        "x-gzip": ok(gzip.compress(body), b"Content-Encoding: x-gzip\r\n"),
        "twice": ok(gzip.compress(gzip.compress(body)), b"Content-Encoding: gzip, gzip\r\n"),
        "unknown": ok(body, b"Content-Encoding: of-tomorrow\r\n"),
    }
    (tmp_path / "a.warc").write_bytes(plain(*(record(f"http://a.example/{n}", http) for n, http in kinds.items())))
    _, log, pages = read_warcs(tmp_path, "a.warc")
    assert pages == {f"http://a.example/{name}": body for name in kinds}
    assert {row.outcome for row in log} == {"fetched"}


def test_what_is_not_read_of_a_file_in_one_gzip_stream_is_told(tmp_path: Path) -> None:
    records = [plain(r) for r in good()]
    records[1] = records[1].replace(b"WARC/1.1", b"WORC/1.1").replace(b"WARC/1.0", b"WORC/1.0")
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(b"".join(records)))
    _, log, pages = read_warcs(tmp_path, "a.warc.gz")
    told = [row.reason for row in log if row.outcome == "malformed_record"]
    assert len(pages) == len(records) - 1 or any("bytes from here on were not read" in reason for reason in told), told
