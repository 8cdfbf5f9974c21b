"""The body of an HTTP answer as it lies in a WARC file, decoded as a browser would: by what its bytes are, where they
contradict its headers.

Crawlers keep a body as it came or already decoded, with its headers as they came either way. So a coding is taken off
where it is there, however often (``gzip, gzip``), whether its name is right or not (``x-gzip``, a raw ``deflate``). A
body that is plain under such a header, or under a coding that nobody knows, stays what it is. What breaks off in the
middle is read as far as it goes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

import brotli
import zstandard

GZIP, ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_PIECE = 1 << 20


class TooLong(Exception):
    """A body that inflates to more than is allowed."""


def decoded_body(raw: bytes, headers: Iterable[tuple[str, str]], limit: int) -> bytes:
    """The body of an answer. Never more than ``limit`` bytes and a piece are held.

    Raises:
        TooLong: it is, or inflates to, more than ``limit`` bytes.
    """
    held = [(name.lower(), value.lower()) for name, value in headers]
    body = raw
    if any("chunked" in value for name, value in held if name == "transfer-encoding"):
        body = joined_chunks(body)
    codings = [c.strip() for name, value in held if name == "content-encoding" for c in value.split(",")]
    for coding in reversed([c for c in codings if c not in ("", "identity", "none")]):
        body = _without(coding, body, limit)
    if codings and body.startswith(GZIP):  # packed twice, said once
        body = _without("gzip", body, limit)
    if len(body) > limit:
        raise TooLong
    return body


def joined_chunks(body: bytes) -> bytes:
    """A chunked body put together; one that is not chunked, or no more, as it is."""
    out: list[bytes] = []
    at = 0
    while found := _CHUNK_SIZE.match(body, at):
        size = int(found[1], 16)
        if size == 0:
            return b"".join(out)
        out.append(body[found.end() : found.end() + size])
        at = found.end() + size
        if at >= len(body):
            return b"".join(out)
        end = _LINE_END.match(body, at)
        if end is None:
            break  # no chunk ends here: the size was the beginning of a plain body, or the chunks are damaged
        at = end.end()
    return b"".join(out) if len(out) > 1 else body


def _without(coding: str, body: bytes, limit: int) -> bytes:
    if coding in ("gzip", "x-gzip"):
        return _gathered(_inflated(body, zlib.MAX_WBITS | 16), body, limit) if body.startswith(GZIP) else body
    if coding == "deflate":
        if body.startswith(GZIP):
            return _without("gzip", body, limit)
        wrapped = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _gathered(_inflated(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS), body, limit)
    if coding == "br":
        return _gathered(_from_brotli(body), body, limit)
    if coding == "zstd" and body.startswith(ZSTD):
        return _gathered(zstandard.ZstdDecompressor().read_to_iter(body), body, limit)
    return body


def _gathered(pieces: Iterator[bytes], body: bytes, limit: int) -> bytes:
    """What comes out until it breaks off; the body itself where nothing does."""
    out: list[bytes] = []
    left = limit
    try:
        for piece in pieces:
            out.append(piece)
            left -= len(piece)
            if left < 0:
                raise TooLong
    except (zlib.error, brotli.error, zstandard.ZstdError):
        pass
    return b"".join(out) or body


def _inflated(body: bytes, bits: int) -> Iterator[bytes]:
    """One gzip member after another, or one zlib stream."""
    while body:
        unpacker = zlib.decompressobj(wbits=bits)
        piece = unpacker.decompress(body, _PIECE)
        while piece:
            yield piece
            piece = unpacker.decompress(unpacker.unconsumed_tail, _PIECE)
        yield unpacker.flush()
        body = unpacker.unused_data if unpacker.eof and bits > zlib.MAX_WBITS else b""
        if not body.startswith(GZIP):
            return


def _from_brotli(body: bytes) -> Iterator[bytes]:
    unpacker = brotli.Decompressor()
    yield unpacker.process(body, output_buffer_limit=_PIECE)
    while not unpacker.is_finished() and not unpacker.can_accept_more_data():
        yield unpacker.process(b"", output_buffer_limit=_PIECE)
