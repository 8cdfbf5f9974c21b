"""Documents in files by id: which file a document is in follows from its id and from how much text there is, from
nothing else.

Everything after the rules works file by file, and some steps ask which of two documents comes first. Files that are
ranges of ids make both independent of how the input was cut, of its order and of the number of workers. Their number is
a power of two, so that twice the corpus is cut at the same places and once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core import records
from neo_assets.core.records import DOCUMENT
from neo_assets.core.shards import run_shards
from neo_assets.core.steps import read_footer, write_part

TARGET_BYTES = 64_000_000
"""Text in one file, about: what a worker holds in memory at once, several times over."""


def ranges(text_bytes: int) -> int:
    """Files for so much text."""
    n = 1
    while n * TARGET_BYTES < text_bytes and n < 1 << 16:
        n *= 2
    return n


def lay_out(files: Sequence[Path], folder: Path, *, workers: int, scratch: Path) -> None:
    """Write the documents of ``files`` (each sorted by id, with a footer) as ranges of ids into ``folder``."""
    size = sum(read_footer(path)["text_bytes"] for path in files)
    n = ranges(size)
    run_shards(
        partial(_write_range, list(files), folder, n), range(n), workers=workers, scratch=scratch, input_bytes=size
    )


def _write_range(files: list[Path], folder: Path, n: int, index: int) -> None:
    target = folder / f"{records.PART}{index:05d}.parquet"
    if target.is_file():
        return
    bounds = [("doc_id", ">=", f"{index * (65536 // n):04x}")]
    if index + 1 < n:
        bounds.append(("doc_id", "<", f"{(index + 1) * (65536 // n):04x}"))
    tables = [
        pq.read_table(path, columns=DOCUMENT.names, filters=bounds).replace_schema_metadata(None) for path in files
    ]
    table = pa.concat_tables(tables or [DOCUMENT.empty_table()]).sort_by("doc_id")
    write_part(table.cast(DOCUMENT), target)
