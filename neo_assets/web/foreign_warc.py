"""WARC files made by others, read where they lie; what is damaged is named with its place and its address.

A record must have its full length, agree with its digest where it has one, and be a readable HTTP response. After
damage the reader looks for the next place at which a record can begin, also inside a file that is one gzip stream, so
that a damaged record costs itself and not the rest of its file.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from neo_assets.web.http_body import TooLong, decoded_body
from neo_assets.web.links import BadUrl, address, canonical
from neo_assets.web.warc_files import Response

_STARTS = {b"\x1f\x8b": b"\x1f\x8b\x08", b"\x28\xb5": b"\x28\xb5\x2f\xfd", b"\x04\x22": b"\x04\x22\x4d\x18"}
_PLAIN_START = b"WARC/1."
_NEXT_RECORD = re.compile(rb"\r?\n\r?\n(?=WARC/1\.\d\r?\n)")
_URI = re.compile(rb"^WARC-Target-URI:[ \t]*<?([^\r\n>]{1,2000})", re.IGNORECASE | re.MULTILINE)
_CONTENT_LENGTH = re.compile(rb"^Content-Length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HEAD = 4096
_CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 16
MOST_DAMAGE = 1_000
"""Places of damage in one file after which the rest of it is given up: in one gzip stream each is looked for from the
start.
"""


@dataclass(frozen=True, slots=True)
class Damage:
    """What cannot be read: where, why, of which address where that is known, and how many bytes went with it."""

    offset: int
    reason: str
    url: str = ""
    lost_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a conversion record (WET), or why there is none."""

    url: str
    payload: bytes
    fetched_at: str


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at one place of a file: a page, a text, damage, or a record of another kind, by its name."""

    offset: int
    what: Response | Text | Damage | str


def read_warc(path: Path, limit: int) -> Iterator[Found]:
    """Everything in a WARC file, in order. Never more than ``limit`` bytes of a record are held. Offsets are of the
    file, or of what it unpacks to where it is one gzip stream.
    """
    size = path.stat().st_size
    if size == 0:
        yield Found(0, Damage(0, "the file is empty"))
        return
    with path.open("rb") as stream, closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as data:
        if _head(data, 0).startswith(b"filedesc://"):
            reason = "this is an ARC file, the form before WARC, which is not read: convert it (warcio recompress does)"
            yield Found(0, Damage(0, reason, lost_bytes=size))
        elif _is_one_stream(data):
            yield from _records(_OneStream(data), limit)
        elif data[:2] in _STARTS:
            yield from _records(_Members(data, stream), limit)
        else:
            yield from _records(_Plain(data, stream), limit)


def _records(file: _Plain | _Members | _OneStream, limit: int) -> Iterator[Found]:
    """Records in order, and damage between them. After damage the file is opened anew at the next record."""
    start = 0
    for _ in range(MOST_DAMAGE):
        good, whole, failure = start, False, ""
        stream = file.opened(start)
        try:
            for record in ArchiveIterator(stream, parse_http=False):
                good, whole = record.stream_pos, False
                yield Found(good, _told(record, good, limit))
                whole = True
        except OSError as error:
            failure = str(error)
        if isinstance(stream, _Unpacked) and stream.error:
            reason = f"{stream.error}; the {stream.packed_left:,} packed bytes from about here on were not read"
            yield Found(good, Damage(good, reason, lost_bytes=max(stream.packed_left, 1)))
            return
        if not failure:
            return
        # What was read last is whole: the damage begins where it ends, unless a sound record begins there.
        begin = file.end_of(good) if whole else good
        if whole and file.begins_at(begin):
            start = begin
            continue
        following = file.next_after(begin)
        lost = (file.size if following is None else following) - begin
        rest = f"; the {lost:,} bytes from here on were not read" if following is None else ""
        counted = 0 if isinstance(file, _OneStream) and following is not None else max(lost, 1)
        yield Found(begin, Damage(begin, f"{failure}{rest}", _uri(file.head(begin)), counted))
        if following is None:
            return
        start = following
    reason = f"{MOST_DAMAGE:,} places of damage: the rest was not read"
    yield Found(start, Damage(start, reason, lost_bytes=max(file.size - start, 1)))


class _Plain:
    """A file that is not packed."""

    def __init__(self, data: mmap.mmap, stream: IO[bytes]) -> None:
        self._data = data
        self._stream = stream
        self.size = len(data)

    def opened(self, offset: int) -> IO[bytes]:
        self._stream.seek(offset)
        return self._stream

    def head(self, offset: int) -> bytes:
        return self._data[offset : offset + _HEAD]

    def end_of(self, offset: int) -> int:
        return offset + _length(self._data[offset : offset + _CHUNK])

    def begins_at(self, offset: int) -> bool:
        return self.head(offset).startswith(_PLAIN_START)

    def next_after(self, offset: int) -> int | None:
        found = _NEXT_RECORD.search(self._data, offset)
        return found.end() if found else None


class _Members:
    """A file of which every record is packed for itself, so that the beginning of each can be found."""

    def __init__(self, data: mmap.mmap, stream: IO[bytes]) -> None:
        self._data = data
        self._stream = stream
        self._mark = _STARTS[data[:2]]
        self.size = len(data)

    def opened(self, offset: int) -> IO[bytes]:
        self._stream.seek(offset)
        return self._stream

    def head(self, offset: int) -> bytes:
        return _head(self._data, offset)

    def end_of(self, offset: int) -> int:
        """Where the member that begins at an offset ends; where that cannot be told, where the next seems to begin."""
        if self._mark == _STARTS[b"\x1f\x8b"]:
            unpacker, at = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), offset
            try:
                while not unpacker.eof and at < self.size:
                    unpacker.decompress(self._data[at : at + _CHUNK])
                    at += _CHUNK
                if unpacker.eof:
                    return min(at, self.size) - len(unpacker.unused_data)
            except zlib.error:
                pass
        found = self._data.find(self._mark, offset + 1)
        return found if found >= 0 else self.size

    def begins_at(self, offset: int) -> bool:
        return self._data[offset : offset + len(self._mark)] == self._mark

    def next_after(self, offset: int) -> int | None:
        found = self._data.find(self._mark, offset + 1)
        return found if found >= 0 else None


class _OneStream:
    """A file that is one gzip stream: every place in it is reached from its beginning."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.size = len(data)

    def opened(self, offset: int) -> _Unpacked:
        stream = _Unpacked(self._data)
        stream.skip(offset)
        return stream

    def head(self, offset: int) -> bytes:
        return self.opened(offset).read(_HEAD)

    def end_of(self, offset: int) -> int:
        return offset + _length(self.opened(offset).read(_CHUNK))

    def begins_at(self, offset: int) -> bool:
        return self.head(offset).startswith(_PLAIN_START)

    def next_after(self, offset: int) -> int | None:
        stream = self.opened(offset)
        window, passed = stream.read(_CHUNK), offset
        while window:
            if found := _NEXT_RECORD.search(window):
                return passed + found.end()
            more = stream.read(_CHUNK)
            kept = min(len(window), 16)
            passed += len(window) - kept
            window = window[-kept:] + more if more else b""
        return None


class _Unpacked(io.RawIOBase):
    """What a gzip file unpacks to, forward only; what is broken in it ends it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0
        self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._ready = b""
        self.error = ""
        self._passed = 0

    @property
    def packed_left(self) -> int:
        return len(self._data) - self._at

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else 1 << 62
        out = []
        while wanted > 0 and (self._ready or self._more()):
            piece, self._ready = self._ready[:wanted], self._ready[wanted:]
            out.append(piece)
            wanted -= len(piece)
            self._passed += len(piece)
        return b"".join(out)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._passed

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        ahead = offset - (self._passed if whence == io.SEEK_SET else 0)
        if whence == io.SEEK_END or ahead < 0:
            raise io.UnsupportedOperation("forward only")
        self.skip(ahead)
        return self._passed

    def skip(self, size: int) -> None:
        while size > 0 and (piece := self.read(min(size, _CHUNK))):
            size -= len(piece)

    def _more(self) -> bool:
        while not self._ready and not self.error:
            source = self._unpacker.unconsumed_tail
            if not source:
                source = self._data[self._at : self._at + _PACKED_CHUNK]
                self._at += len(source)
            if not source:
                if not self._unpacker.eof:
                    self.error = "the gzip stream ends before its end"
                return False
            try:
                self._ready = self._unpacker.decompress(source, _CHUNK)
                if self._unpacker.eof and (rest := self._unpacker.unused_data):
                    self._at -= len(rest)
                    if not self._data[self._at : self._at + 3].startswith(b"\x1f\x8b\x08"):
                        self._at = len(self._data)
                    self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            except zlib.error as error:
                self.error = str(error)
                self._at -= len(source)
        return bool(self._ready)


def _is_one_stream(data: mmap.mmap) -> bool:
    """Whether the first member of a gzip file holds more than one record."""
    if not data[:3].startswith(b"\x1f\x8b\x08"):
        return False
    try:
        first = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(data[:_CHUNK], _CHUNK)
    except zlib.error:
        return False
    return len(_NEXT_RECORD.findall(first)) > 0


def _length(head: bytes) -> int:
    """Length of the record that begins here, with the lines that end it; 0 where it does not say."""
    end = re.search(rb"\r?\n\r?\n", head)
    told = _CONTENT_LENGTH.search(head[: end.start()]) if end else None
    return end.end() + int(told[1]) + 4 if end and told else 0


def _head(data: mmap.mmap, offset: int) -> bytes:
    """The first bytes of what stands at an offset, unpacked where it is gzip."""
    raw = data[offset : offset + _HEAD]
    if not raw.startswith(b"\x1f\x8b\x08"):
        return raw
    unpacker, head = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), b""
    with contextlib.suppress(zlib.error):  # what comes before the damage is what is wanted
        for at in range(0, len(raw), 64):
            head += unpacker.decompress(raw[at : at + 64], _HEAD)
    return head


def _uri(head: bytes) -> str:
    """The address that the head of a record names, "" without one."""
    record = head[: end.start()] if (end := re.search(rb"\r?\n\r?\n", head)) else head
    found = _URI.search(record)
    return found[1].decode("utf-8", "replace").strip() if found else ""


def _told(record: WarcRecord, offset: int, limit: int) -> Response | Text | Damage | str:
    kind = record.record_type
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    if "Content-Length" not in record.headers:
        return Damage(offset, "a record without Content-Length", url)
    if url.startswith("dns:"):
        return "dns"
    if kind == WarcRecordType.conversion:
        return _text(record, offset, url, limit)
    if kind not in (WarcRecordType.response, WarcRecordType.resource, WarcRecordType.no_type):
        return str(record.headers.get("WARC-Type") or "no type").strip().lower()[:40]
    return _response(record, offset, url, limit)


def _whole(record: WarcRecord, offset: int, url: str, limit: int) -> Damage | None:
    """What is wrong with a record's block; the whole of it is in memory afterwards."""
    declared = record.headers.get("Content-Length") or ""
    if not declared.strip().isdigit():
        return Damage(offset, f"Content-Length is {declared!r}", url)
    if int(declared) > limit:
        return Damage(offset, f"{url[:200]} is {int(declared):,} bytes long; max_record_bytes is {limit:,}", url)
    record.freeze()
    if record.content_length != int(declared):
        return Damage(offset, f"the record ends after {record.content_length} of {declared} bytes", url)
    if (record.headers.get("WARC-Block-Digest") or "").startswith("sha1:") and not record.verify_block_digest():
        return Damage(offset, f"{url} does not agree with its WARC-Block-Digest", url)
    return None


def _date(record: WarcRecord) -> str:
    return record.record_date.strftime("%Y-%m-%dT%H:%M:%SZ") if record.record_date else ""


def _text(record: WarcRecord, offset: int, url: str, limit: int) -> Text | Damage:
    return _whole(record, offset, url, limit) or Text(url, record.reader.read(), _date(record))


def _response(record: WarcRecord, offset: int, url: str, limit: int) -> Response | Damage:
    if damage := _whole(record, offset, url, limit):
        return damage
    try:
        canonical(place := address(url))
    except BadUrl as error:
        return Damage(offset, f"WARC-Target-URI {url[:200]!r} {error}", url)
    if record.record_type == WarcRecordType.resource:  # the thing itself, without an HTTP answer around it
        headers = [("Content-Type", record.headers.get("Content-Type") or "")]
        return Response(place, 200, headers, record.reader.read(), _date(record), "WARC-Truncated" in record.headers)
    record.parse_http(auto_decode="none")
    status = record.http_headers.status_code if record.is_http_parsed else None
    if status is None:
        return Damage(offset, f"{place} holds no HTTP response", place)
    try:
        payload = decoded_body(record.reader.read(), record.http_headers.to_tuples(), limit)
    except TooLong:
        return Damage(offset, f"the body of {place} inflates to more than {limit:,} bytes (max_record_bytes)", place)
    return Response(
        url=place,
        status=status,
        headers=record.http_headers.to_tuples(),
        payload=payload,
        fetched_at=_date(record),
        truncated="WARC-Truncated" in record.headers,
    )
