"""Bodies as crawlers keep them: what a browser would read is read, whatever the headers say of it."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from neo_assets.web.http_body import TooLong, decoded_body

PAGE = "<html><body><p>正文 text</p></body></html>".encode() * 40
LIMIT = 10**6


def zipped(body: bytes, level: int = 9) -> bytes:
    """Without the time: the tests' names are made of their inputs, and two processes must collect the same."""
    return gzip.compress(body, level, mtime=0)


def chunks(body: bytes, size: int = 700, extension: bytes = b"") -> bytes:
    cut = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(c), extension, c) for c in cut) + b"0\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (PAGE, {}),
        (chunks(PAGE), {"Transfer-Encoding": "chunked"}),
        (chunks(PAGE, extension=b';name="value"'), {"Transfer-Encoding": "chunked"}),
        (chunks(PAGE)[:-5], {"Transfer-Encoding": "chunked"}),  # without the last chunk
        (PAGE, {"Transfer-Encoding": "chunked"}),  # put together by the crawler
        (zipped(PAGE), {"Content-Encoding": "gzip"}),
        (zipped(PAGE), {"Content-Encoding": "x-gzip"}),
        (zipped(PAGE), {"content-encoding": "GZIP"}),
        (zipped(PAGE[:500]) + zipped(PAGE[500:]), {"Content-Encoding": "gzip"}),
        (PAGE, {"Content-Encoding": "gzip"}),  # decoded by the crawler
        (zlib.compress(PAGE), {"Content-Encoding": "deflate"}),
        (raw_deflate(PAGE), {"Content-Encoding": "deflate"}),
        (PAGE, {"Content-Encoding": "deflate"}),
        (zipped(PAGE), {"Content-Encoding": "deflate"}),
        (brotli.compress(PAGE), {"Content-Encoding": "br"}),
        (PAGE, {"Content-Encoding": "br"}),
        (zstandard.compress(PAGE), {"Content-Encoding": "zstd"}),
        (zipped(zipped(PAGE)), {"Content-Encoding": "gzip, gzip"}),
        (zipped(zipped(PAGE)), {"Content-Encoding": "gzip"}),
        (brotli.compress(zipped(PAGE)), {"Content-Encoding": "gzip, br"}),
        (PAGE, {"Content-Encoding": "utf-8"}),
        (PAGE, {"Content-Encoding": "something-new"}),
        (chunks(zipped(PAGE)), {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}),
    ],
)  # fmt: skip
def test_the_page_comes_out(raw: bytes, headers: dict[str, str]) -> None:
    assert decoded_body(raw, headers.items(), LIMIT) == PAGE


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (zipped(PAGE * 9, 0)[:9000], {"Content-Encoding": "gzip"}),
        (zlib.compress(PAGE * 9, 0)[:9000], {"Content-Encoding": "deflate"}),
        (chunks(PAGE)[:1000], {"Transfer-Encoding": "chunked"}),
    ],
)
def test_what_breaks_off_is_read_as_far_as_it_goes(raw: bytes, headers: dict[str, str]) -> None:
    found = decoded_body(raw, headers.items(), LIMIT)
    assert len(found) > 900 and (PAGE * 9).startswith(found)


@pytest.mark.parametrize(
    ("raw", "coding"),
    [
        (zipped(bytes(50_000_000)), "gzip"),
        (raw_deflate(bytes(50_000_000)), "deflate"),
        (zlib.compress(bytes(50_000_000)), "deflate"),
        (brotli.compress(bytes(50_000_000), quality=1), "br"),
        (zstandard.compress(bytes(50_000_000)), "zstd"),
        (b"x" * 1_000_001, "identity"),
    ],
)
def test_a_bomb_is_refused_before_it_is_held(raw: bytes, coding: str) -> None:
    with pytest.raises(TooLong):
        decoded_body(raw, [("Content-Encoding", coding)], LIMIT)
