"""The pages of a crawl, wherever they lie: in its own segments, or in other people's WARC files, which stay in place.

Of a file that stays where it is, the artifact holds its name and digest; where it lies is the recipe's to say, so that
files and store may move.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.sources import BooksSource, WarcSource
from neo_assets.core.store import Artifact, Workspace
from neo_assets.crawl.input_files import InputFile, input_files
from neo_assets.web.fetch_log import FETCHED, read_log
from neo_assets.web.foreign_warc import read_warc
from neo_assets.web.media import document_suffix
from neo_assets.web.warc_files import Response, read_segment


@dataclass(frozen=True)
class StoredDocument:
    """A document to be converted: its row of the log, and the file that it is, or the WARC file that holds it."""

    doc_id: str
    url: str
    suffix: str
    fetched_at: str
    size: int
    file: InputFile | None = None
    part: StoredPart | None = None
    place: str = ""


def located(documents: Sequence[StoredDocument], scratch: Path) -> Iterator[tuple[StoredDocument, Path]]:
    """Documents of one part as files on this machine, each as long as it is looked at. A part is read through once."""
    scratch.mkdir(parents=True, exist_ok=True)
    in_parts: dict[str, StoredDocument] = {}
    for document in documents:
        if document.file is None:
            in_parts[document.place] = document
        elif not document.file.packed:
            with document.file.local(scratch) as path:
                yield document, path
        else:
            with document.file.local(scratch) as path, _copy(scratch, document) as copy:
                with gzip.open(path) as packed, copy.open("wb") as stream:
                    shutil.copyfileobj(packed, stream)
                yield document, copy
    for part in {document.part.name: document.part for document in in_parts.values() if document.part}.values():
        for page in part.pages(scratch):
            if (found := in_parts.pop(page.url, None)) is not None:
                with _copy(scratch, found) as copy:
                    copy.write_bytes(page.payload)
                    yield found, copy


@contextlib.contextmanager
def _copy(scratch: Path, document: StoredDocument) -> Iterator[Path]:
    copy = scratch / f"{document.doc_id}{document.suffix}"
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


IN_PLACE = "in_place.json"
"""Names and digests of the files whose pages a log tells, in the order of the logs."""


@dataclass(frozen=True)
class StoredPart:
    """A part of a crawl, which one worker reads. ``log`` is of a part whose pages lie in somebody else's ``file``."""

    name: str
    size: int
    segment: Path | None = None
    file: InputFile | None = None
    log: Path | None = None
    limit: int = 0

    def pages(self, scratch: Path) -> Iterator[Response]:
        """The pages that the crawl kept, in the order in which they lie there."""
        if self.segment is not None:
            yield from read_segment(self.segment)
            return
        assert self.file is not None
        assert self.log is not None
        kept = {row.place for row in read_log(self.log) if row.outcome == FETCHED}
        with self.file.local(scratch) as path:
            for found in read_warc(path, self.limit):
                if found.offset in kept and isinstance(found.what, Response):
                    yield found.what


def write_index(out: Workspace, files: Sequence[InputFile]) -> None:
    """Write down which files the logs are of."""
    told = [{"name": file.name, "digest": file.digest()} for file in files]
    out.write_text(IN_PLACE, json.dumps(told, ensure_ascii=False, indent=1))


def stored_documents(crawl: Artifact, source: BooksSource | WarcSource | None) -> list[StoredDocument]:
    """Documents of a crawl that are to be converted, in the order of their ids.

    Raises:
        BadInput: a file is not where the recipe says, or is another one by now; names it.
    """
    out: list[StoredDocument] = []
    logs = crawl.files("log/")
    if isinstance(source, BooksSource):
        there = dict(_in_place(crawl, source))
        for row in read_log(logs[0]):
            if row.outcome == FETCHED:
                kind, moment = row.content_type, row.fetched_at
                out.append(StoredDocument(row.doc_id, row.url, kind, moment, row.bytes, file=there[row.file]))
    else:
        parts = {part.name: part for part in stored_parts(crawl, source if isinstance(source, WarcSource) else None)}
        for log in logs:
            for row in read_log(log):
                kind = document_suffix(row.content_type)
                if row.outcome == FETCHED and kind:
                    part = parts[log.stem]
                    out.append(
                        StoredDocument(
                            row.doc_id, row.address, kind, row.fetched_at, row.bytes, part=part, place=row.address
                        )
                    )
    return sorted(out, key=lambda d: d.doc_id)


def _in_place(crawl: Artifact, source: BooksSource | WarcSource) -> list[tuple[str, InputFile]]:
    """(name, file) of the files that an artifact was read from, in the order of its logs."""
    told = json.loads(crawl.file(IN_PLACE).read_text(encoding="utf-8"))
    there = {(file.name, file.digest()): file for file in input_files(source, source.SUFFIXES)}
    out = []
    for row in told:
        file = there.get((row["name"], row["digest"]))
        if file is None:
            raise BadInput(
                f"{crawl.key} was read from {row['name']}, which is not among the source's paths any more, or was"
                f" changed. Materialize sources/{crawl.key.partition('/')[2]} and {crawl.key} again."
            )
        out.append((str(row["name"]), file))
    return out


def stored_parts(crawl: Artifact, source: WarcSource | None) -> list[StoredPart]:
    """The parts of a crawl. ``source`` says where files lie that were not copied.

    Raises:
        BadInput: a file is not where the recipe says, or is another one by now; names it.
    """
    if IN_PLACE not in crawl.manifest.files or source is None:
        return [
            StoredPart(path.name.replace(".warc.gz", ""), path.stat().st_size, segment=path)
            for path in crawl.files("warc/", ".warc.gz")
        ]
    return [
        StoredPart(log.stem, file.size, file=file, log=log, limit=source.max_record_bytes)
        for (_, file), log in zip(_in_place(crawl, source), crawl.files("log/"), strict=True)
    ]
