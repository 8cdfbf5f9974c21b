"""Files made by others are read as far as they are good; what is bad is named with its place."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType
from sites import build, html, upstream, verdict_rows

from neo_assets.core.errors import BadInput
from neo_assets.core.objects import Objects
from neo_assets.core.recipe.sources import DocumentsSource, WarcSource, WetSource
from neo_assets.core.records import read_table, rows
from neo_assets.core.store import Outcome, Workspace
from neo_assets.crawl.catalogue import read_source_input, refuse_changed_files, source_input
from neo_assets.crawl.documents_source import read_documents_source
from neo_assets.crawl.stored_pages import stored_parts
from neo_assets.crawl.warc_source import read_warc_source, read_wet_source
from neo_assets.web.fetch_log import LogRow, read_log
from tests.servers import S3


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


def read_warcs(folder: Path, *names: str, **fields: object) -> tuple[Outcome, list[LogRow], dict[str, bytes]]:
    config = WarcSource.model_validate(
        {"kind": "warc", "licence": "CC0-1.0", "snapshot": "1", "paths": [str(folder / n) for n in names], **fields}
    )
    out = folder / "out"
    out.mkdir(exist_ok=True)
    outcome = read_warc_source(config, upstream(config), Workspace(out))
    log = [row for path in sorted((out / "log").iterdir()) for row in read_log(path)]
    assert not (out / "warc").exists(), "other people's files are not copied"
    artifact = build(folder / "store", "raw_crawl/test", read_warc_source, config, upstream(config))
    pages = [page for part in stored_parts(artifact, config) for page in part.pages(out)]
    assert len(pages) == sum(row.outcome == "fetched" for row in log)
    return outcome, log, {page.url: page.payload for page in pages}


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
    outcome, log, _ = read_warcs(tmp_path, "bad.warc", "good.warc", max_bad_share=1)
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
        (b'{"url": "http://a.example/x", "body": "y"}', "'text' is missing; its fields are 'url', 'body' (text_field)"),
        (b'{"text": 7}', "is int, not text"),
        (b'{"text": "  "}', "'text' is empty"),
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
    dropped = [v for v in verdict_rows(tmp_path / "out") if v["verdict"] == "dropped"]
    assert len(dropped) == outcome.rows_dropped == 7 and all("d.jsonl record " in str(v["detail"]) for v in dropped)
    losses = next(check for check in outcome.checks if check.name == "losses_bounded")
    assert not losses.passed and "d.jsonl: 7 of 9 records (77.8%); the first: d.jsonl record" in losses.detail


def test_what_can_be_repaired_is_repaired_and_told(tmp_path: Path) -> None:
    lines = [b'{"text": "a\\u0000b", "id": 7}', b'{"text": "c\\ud800d"}', b'{"text": "\\ud83d\\ude00"}']
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(lines))
    pq.write_table(pa.table({"text": [b"bytes \xe6\x96\x87", b"\xff"], "id": ["x-1", "x-2"]}), tmp_path / "e.parquet")
    outcome, kept, bad = read_documents(tmp_path, "d.jsonl", "e.parquet", max_bad_share=0.5)
    assert sorted(str(r["text"]) for r in kept) == ["ab", "bytes 文", "c\ufffdd", "😀"]
    assert [r.reason for r in bad] == ["e.parquet record 2: field 'text' is bytes that are not UTF-8 (byte 0)"]
    edited = [v["detail"] for v in verdict_rows(tmp_path / "out") if v["verdict"] == "edited"]
    assert sorted(map(str, edited)) == ["1 NUL taken out", "lone surrogates replaced"]
    assert outcome.rows_kept == 4 and all(check.passed for check in outcome.checks)
    aliases = {row.alias for path in (tmp_path / "out/log").iterdir() for row in read_log(path)}
    assert {"7", "x-1"} <= aliases


def test_an_address_may_be_of_any_type_and_inside_another_field(tmp_path: Path) -> None:
    lines = [{"text": "a", "meta": {"at": 12}}, {"text": "b", "meta": {"at": ["x", 1]}}, {"text": "c", "meta.at": "y"}]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    _, kept, _ = read_documents(tmp_path, "d.jsonl", url_field="meta.at")
    assert {r["text"]: r["url"] for r in kept} == {"a": "12", "b": '["x", 1]', "c": "y"}


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".zst"):
        half = len(content) // 2  # two frames, as tools that append write
        return b"".join(zstandard.ZstdCompressor().compress(part) for part in (content[:half], content[half:]))
    return {".gz": gzip, ".bz2": bz2, ".xz": lzma}[Path(name).suffix].compress(content)


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.jsonl.zst", "d.ndjson.bz2", "d.json.xz"])
def test_rows_are_read_from_every_compression_and_up_to_where_it_is_torn(tmp_path: Path, name: str) -> None:
    words = [f"{i} " + hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]
    whole = packed(name, "".join(json.dumps({"text": word}) + "\n" for word in words).encode())
    for folder, content in (("whole", whole), ("torn", whole[: int(len(whole) * 0.7)])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    _, kept, bad = read_documents(tmp_path / "whole", name)
    assert sorted(str(r["text"]) for r in kept) == sorted(words) and not bad
    outcome, kept, bad = read_documents(tmp_path / "torn", name)
    if kept:  # a format that is read block by block
        assert {str(r["text"]) for r in kept} < set(words)
    assert "the file cannot be read from here on" in bad[-1].reason and bad[-1].lost_bytes > 0
    assert outcome.rows_in == len(kept) + len(bad)


def test_mistyped_parquet_rows_are_dropped_and_a_torn_file_is_named(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [1, 2], "url": ["http://a.example/1", "http://a.example/2"]}), tmp_path / "a.parquet"
    )
    pq.write_table(
        pa.table({"text": ["good", None], "url": ["http://a.example/3", "http://a.example/4"]}), tmp_path / "c.parquet"
    )
    (tmp_path / "d.parquet").write_bytes((tmp_path / "c.parquet").read_bytes()[:-9])
    outcome, kept, bad = read_documents(tmp_path, "*.parquet")
    assert [r["text"] for r in kept] == ["good"] and outcome.rows_dropped == 4
    reasons = {r.url: r.reason for r in bad}
    assert "int" in reasons["a.parquet#1"] and "missing" in reasons["c.parquet#2"]
    assert "cannot be read" in reasons["d.parquet#1"]
    losses = next(check for check in outcome.checks if check.name == "losses_bounded")
    size = (tmp_path / "d.parquet").stat().st_size
    assert not losses.passed and f"d.parquet: {size} of {size} bytes (100.0%)" in losses.detail


def test_a_parquet_file_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Text": ["x"], "body": ["y"]}), tmp_path / "b.parquet")
    outcome, _, (bad,) = read_documents(tmp_path, "b.parquet")
    assert "no column 'text'; its columns are 'Text', 'body' (text_field). Did you mean Text?" in bad.reason
    assert not any(check.passed for check in outcome.checks if check.name in ("losses_bounded", "not_empty"))


def test_a_damaged_group_of_rows_costs_only_itself(tmp_path: Path) -> None:
    texts = [hashlib.sha256(str(i).encode()).hexdigest() * 4 for i in range(4000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "d.parquet", row_group_size=1000, use_dictionary=False)
    content = bytearray((tmp_path / "d.parquet").read_bytes())
    where = pq.ParquetFile(tmp_path / "d.parquet").metadata.row_group(1).column(0)
    content[where.data_page_offset + 60 : where.data_page_offset + 400] = bytes(340)
    (tmp_path / "d.parquet").write_bytes(bytes(content))
    outcome, kept, bad = read_documents(tmp_path, "d.parquet")
    assert {str(r["text"]) for r in kept} >= {*texts[:1000], *texts[2000:]}
    assert "1000 rows cannot be read" in bad[0].reason and bad[0].lost_bytes > 50_000
    losses = next(check for check in outcome.checks if check.name == "losses_bounded")
    assert not losses.passed and "bytes (2" in losses.detail


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


def test_damage_inside_one_gzip_stream_costs_only_its_record(tmp_path: Path) -> None:
    records = [plain(r) for r in (record(f"http://a.example/{i}", ok(html(f"page {i} " * 4000))) for i in range(10))]
    records[3] = re.sub(rb"^WARC/1", b"WORC/1", records[3])
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(b"".join(records)))
    outcome, log, pages = read_warcs(tmp_path, "a.warc.gz", max_bad_share=0.2)
    assert sorted(url.rpartition("/")[2] for url in pages) == [str(i) for i in range(10) if i != 3]
    (lost,) = [row for row in log if row.outcome == "malformed_record"]
    assert lost.address == "http://a.example/3" and "a.warc.gz at byte" in lost.reason
    assert (outcome.rows_in, outcome.rows_kept) == (10, 9)


def test_what_is_not_read_of_a_torn_gzip_stream_is_told_and_bounded(tmp_path: Path) -> None:
    noise = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(40_000)]
    bodies = ["".join(noise[i * 4000 : (i + 1) * 4000]) for i in range(10)]
    records = [plain(record(f"http://a.example/{i}", ok(html(body)))) for i, body in enumerate(bodies)]
    whole = gzip.compress(b"".join(records))
    (tmp_path / "a.warc.gz").write_bytes(whole[: len(whole) // 2])
    outcome, log, pages = read_warcs(tmp_path, "a.warc.gz")
    assert len(pages) == 4 or len(pages) == 5
    assert "the gzip stream ends before its end" in [r for r in log if r.outcome == "malformed_record"][-1].reason
    losses = next(check for check in outcome.checks if check.name == "losses_bounded")
    assert not losses.passed and "records (" in losses.detail


def other(kind: WarcRecordType, url: str, content: bytes, content_type: str) -> WarcRecord:
    made = WarcRecord()
    made.init_headers(kind)
    made.headers["WARC-Target-URI"] = url
    made.headers["Content-Type"] = content_type
    made.set_bytes_content(content)
    return made


def test_records_of_other_kinds_are_counted_and_resources_are_pages(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(
        plain(
            *good(),
            other(WarcRecordType.resource, "http://a.example/resource", html("a resource"), "text/html"),
            other(WarcRecordType.revisit, "http://a.example/0", b"HTTP/1.1 304 x\r\n\r\n", "application/http"),
            other(WarcRecordType.response, "dns:a.example", b"20260101000000\na.example. 1 IN A 1.2.3.4\n", "text/dns"),
            other(WarcRecordType.request, "http://a.example/0", b"GET / HTTP/1.1\r\n\r\n", "application/http"),
            other(WarcRecordType.conversion, "http://a.example/0", b"text", "text/plain"),
        )
    )
    outcome, log, pages = read_warcs(tmp_path, "a.warc")
    assert pages["http://a.example/resource"] == html("a resource") and len(pages) == 5 == len(log)
    told = {str(row["kind"]).partition(" (")[0]: row["records"] for row in outcome.tables["records"]}
    assert told == {"response or resource": 5, "revisit": 1, "dns": 1, "request": 1, "conversion": 1}
    assert all(check.passed for check in outcome.checks)


def test_wet_files_are_documents(tmp_path: Path) -> None:
    texts = {f"http://a.example/{i}": f"文 text {i}\n second line" for i in range(5)}
    made = [other(WarcRecordType.conversion, url, text.encode(), "text/plain") for url, text in texts.items()]
    made += [other(WarcRecordType.conversion, "http://a.example/empty", b" \n", "text/plain"), *good()]
    (tmp_path / "a.warc.wet.gz").write_bytes(b"".join(zipped(*made)))
    fields = {"kind": "wet", "licence": "CC0-1.0", "snapshot": "1", "paths": [str(tmp_path)], "max_bad_share": 0.2}
    config = WetSource.model_validate(fields)
    (tmp_path / "out").mkdir()
    outcome = read_wet_source(config, upstream(config), Workspace(tmp_path / "out"))
    kept = list(rows(read_table(tmp_path / "out/rows/part-00000.parquet")))
    assert {row["url"]: row["text"] for row in kept} == texts
    assert (outcome.rows_in, outcome.rows_kept) == (6, 5) and all(check.passed for check in outcome.checks)
    assert {row["records"] for row in outcome.tables["records"]} == {6, 4}


def test_an_arc_file_is_named_as_one(tmp_path: Path) -> None:
    head = b"filedesc://a.arc 0.0.0.0 20010101000000 text/plain 76\n1 0 x\n"
    (tmp_path / "a.arc.gz").write_bytes(gzip.compress(head))
    (tmp_path / "b.arc").write_bytes(head)
    _, log, pages = read_warcs(tmp_path, "a.arc.gz", "b.arc")
    assert not pages and ["is an ARC file" in row.reason for row in log] == [True, True]


def test_a_lost_record_carries_its_address(tmp_path: Path) -> None:
    members = zipped(*good())
    members[1] = members[1][:-40] + bytes(32) + members[1][-8:]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(members))
    _, log, _ = read_warcs(tmp_path, "a.warc.gz")
    bad = [row for row in log if row.outcome == "malformed_record"]
    assert [row.address for row in bad] == ["http://a.example/1"], [row.reason for row in bad]


def test_a_file_that_changed_or_moved_is_noticed_where_its_pages_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.warc"
    path.parent.mkdir()
    path.write_bytes(plain(*good()))
    fields = {"kind": "warc", "licence": "CC0-1.0", "snapshot": "1"}
    config = WarcSource.model_validate({**fields, "paths": [str(path.parent)]})
    artifact = build(tmp_path / "store", "raw_crawl/test", read_warc_source, config, upstream(config))
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "a.warc")
    there = WarcSource.model_validate({**fields, "paths": [str(moved)]})
    assert len([page for part in stored_parts(artifact, there) for page in part.pages(tmp_path)]) == 4
    moved.write_bytes(plain(*good()[:3]))
    with pytest.raises(
        BadInput, match=r"read from a\.warc, which is not among.*Materialize sources/test and raw_crawl/test"
    ):
        stored_parts(artifact, there)


def test_paths_may_be_folders_and_remote_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "in/deep/b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}\n'))
    (tmp_path / "in/readme.txt").write_text("not data")
    (tmp_path / "in/.hidden.jsonl").write_text('{"text": "no"}\n')
    _, kept, _ = read_documents(tmp_path, "in")
    assert {r["url"]: r["text"] for r in kept} == {"a.jsonl#1": "one", "deep/b.jsonl.gz#1": "two"}
    fields = {"kind": "documents", "licence": "CC0-1.0", "snapshot": "1"}
    config = DocumentsSource.model_validate(
        {**fields, "paths": [f"file://{tmp_path}/in", f"file://{tmp_path}/in/a*.jsonl"]}
    )
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "memory"))
    (tmp_path / "memory").mkdir()
    before = source_input(config)
    assert before.content == {}, "a remote place is not asked when definitions load"
    asked = read_source_input(config)
    described = upstream(config)
    assert sorted(asked.content) == ["a.jsonl", "deep/b.jsonl.gz"] and source_input(config) == asked
    out = Workspace(tmp_path / "remote")
    out.path.mkdir()
    outcome = read_documents_source(config, upstream(config), out)
    assert outcome.rows_kept == 2 and not list((out.path / ".logs/remote").iterdir())
    (tmp_path / "in/a.jsonl").write_text('{"text": "changed"}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl is not what sources/test describes"):
        refuse_changed_files(config, next(iter(described.values())))


def test_crawls_lie_in_object_storage(s3: S3, tmp_path: Path) -> None:
    objects = Objects(f"{S3.BUCKET}/crawls")
    objects.put("2026/a.warc", plain(*good()[:2]))
    objects.put("2026/deep/b.warc.gz", gzip.compress(plain(*good()[2:4])))
    objects.put("2026/readme.txt", b"no crawl")
    fields = {"kind": "warc", "licence": "CC0-1.0", "snapshot": "1"}
    config = WarcSource.model_validate({**fields, "paths": [f"{S3.BUCKET}/crawls/2026"]})
    assert sorted(read_source_input(config).content) == ["a.warc", "deep/b.warc.gz"]
    out, described = Workspace(tmp_path / "crawl"), upstream(config)
    out.path.mkdir()
    assert read_warc_source(config, described, out).rows_kept == 4
    objects.put("2026/a.warc", plain(*good()[:1]))
    with pytest.raises(BadInput, match=r"a\.warc is not what sources/test describes"):
        refuse_changed_files(config, next(iter(described.values())))
    with pytest.raises(BadInput, match=r"s3://nobodys/x cannot be read"):
        read_source_input(WarcSource.model_validate({**fields, "paths": ["s3://nobodys/x"]}))


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nosuch://x/y.jsonl", "Protocol not known: nosuch"),
        ("smb://host/*.jsonl", "smb:// needs a package that is not installed"),
        ("http://127.0.0.1:9/a.jsonl", "a.jsonl cannot be read"),
    ],
)
def test_a_remote_place_that_cannot_be_read_is_named_with_the_reason(place: str, told: str) -> None:
    fields = {"kind": "documents", "licence": "CC0-1.0", "snapshot": "1", "paths": [place]}
    with pytest.raises(BadInput, match=re.escape(told)):
        read_source_input(DocumentsSource.model_validate(fields))
