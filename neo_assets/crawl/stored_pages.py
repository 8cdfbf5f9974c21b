"""The pages of a crawl, wherever they lie: in its own segments, or in other people's WARC files, which stay in place.

Of a file that stays where it is, the artifact holds its name and digest; where it lies is the recipe's to say, so that
files and store may move.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.sources import WarcSource
from neo_assets.core.store import Artifact, Workspace
from neo_assets.crawl.input_files import InputFile, input_files
from neo_assets.web.fetch_log import FETCHED, read_log
from neo_assets.web.foreign_warc import read_warc
from neo_assets.web.warc_files import Response, read_segment

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
    told = json.loads(crawl.file(IN_PLACE).read_text(encoding="utf-8"))
    there = {(file.name, file.digest()): file for file in input_files(source, source.SUFFIXES)}
    parts = []
    for row, log in zip(told, crawl.files("log/"), strict=True):
        file = there.get((row["name"], row["digest"]))
        if file is None:
            raise BadInput(
                f"{crawl.key} was read from {row['name']}, which is not among the source's paths any more, or was"
                f" changed. Materialize sources/{crawl.key.partition('/')[2]} and {crawl.key} again."
            )
        parts.append(StoredPart(log.stem, file.size, file=file, log=log, limit=source.max_record_bytes))
    return parts
