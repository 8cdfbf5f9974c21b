"""Documents in files by id: which file a document is in follows from its id and from how much text there is, from
nothing else.

Everything after the rules works file by file, and some steps ask which of two documents comes first. Files that are
ranges of ids make both independent of how the input was cut, of its order and of the number of workers. Their number is
a power of two, so that twice the corpus is cut at the same places and once more.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.artifact import Workspace
from neo_assets.core.records import DOCUMENT
from neo_assets.core.shards import run_shards
from neo_assets.core.shuffle import gather, scatter
from neo_assets.core.steps import read_footer, write_part
from neo_assets.core.written import SCRATCH

TARGET_BYTES = 64_000_000
"""Text in one file, about: what a worker holds in memory at once, several times over."""


GROUP_BYTES = 512_000_000
"""Text that one task scatters, of a corpus that fits into so few groups: what it holds, a third as large compressed."""
MOST_GROUPS = 4096
"""Groups of a larger corpus, which hold more: every range opens every group's file (at 20 TB, 5 GB a group)."""


def ranges(text_bytes: int) -> int:
    """Files for so much text."""
    n = 1
    while n * TARGET_BYTES < text_bytes and n < 1 << 16:
        n *= 2
    return n


def lay_out(files: Sequence[Path], out: Workspace) -> None:
    """Write the documents of ``files`` (each sorted by id, with a footer) as ranges of ids. Each file
    is read once, and what was written in between once more.
    """
    sizes = [read_footer(path)["text_bytes"] for path in files]
    n = ranges(sum(sizes))
    between = list(files)
    if n > 1:
        groups = grouped(files, sizes)
        between = [out.path / SCRATCH / "between" / f"{i:05d}.arrows" for i in range(len(groups))]
        run_shards(
            partial(_scatter_group, n),
            list(zip(between, groups, strict=True)),
            out,
            writes=lambda group: group[0],
            input_bytes=sum(sizes),
        )
    run_shards(
        partial(_write_range, between, out.path, n),
        range(n),
        out,
        writes=partial(_range_file, out.path),
        input_bytes=sum(sizes),
    )


def grouped(files: Sequence[Path], sizes: Sequence[int]) -> list[list[Path]]:
    """Files that one task scatters, in their order: each but the last holds so much text that there are few."""
    most = max(GROUP_BYTES, -(-sum(sizes) // MOST_GROUPS))
    out: list[list[Path]] = []
    held = most
    for path, size in zip(files, sizes, strict=True):
        if held >= most:
            out.append([])
            held = 0
        out[-1].append(path)
        held += size
    return out


def _bounds(n: int) -> pa.Array:
    """The least id of each of ``n`` ranges but the first."""
    return pa.array([f"{index * (65536 // n):04x}" for index in range(1, n)], pa.string())


def _scatter_group(n: int, work: tuple[Path, list[Path]]) -> None:
    target, files = work
    scatter((_by_range(path, n) for path in files), n, target)


def _by_range(path: Path, n: int) -> list[pa.Table]:
    table = records.read_table(path, DOCUMENT).replace_schema_metadata(None).combine_chunks()
    ids = table.column("doc_id").to_numpy(zero_copy_only=False).astype("S32")
    cuts = [0, *np.searchsorted(ids, _bounds(n).to_numpy(zero_copy_only=False).astype("S32")).tolist(), len(ids)]
    return [table.slice(a, b - a) for a, b in itertools.pairwise(cuts)]


def _range_file(folder: Path, index: int) -> Path:
    return folder / f"{records.PART}{index:05d}.parquet"


def _write_range(between: list[Path], folder: Path, n: int, index: int) -> None:
    if n == 1:
        tables = [records.read_table(path, DOCUMENT).replace_schema_metadata(None) for path in between]
    else:
        tables = gather(between, index, n)
    table = pa.concat_tables(tables or [DOCUMENT.empty_table()]).sort_by("doc_id")
    write_part(table.cast(DOCUMENT), _range_file(folder, index))
