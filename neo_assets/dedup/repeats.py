"""Which of a corpus's pieces (windows of characters, paragraphs) an earlier one equals, by partitions of their hashes.

Linear in the text, and no process holds more than a partition: each file writes its pieces (hash, and place in the
file, 12 bytes each) once, by partition; each partition is looked through by itself, and tells each file which of its
pieces occurred before. First is, whose file and place come first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core.shards import missing, run_shards
from neo_assets.core.shuffle import gather, scatter
from neo_assets.core.store import Workspace
from neo_assets.core.written import SCRATCH
from neo_assets.dedup import repeat_kernels as kernels

PARTITION = 48_000_000
"""Pieces that are looked up together, about: some 20 bytes of memory each."""
MOST_PARTITIONS = 1 << 16
PIECE_BYTES = 12

Part = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]
"""Hashes and places of the pieces of a partition, in their order."""
PiecesOf = Callable[[Path], Iterator[Sequence[Part]]]
"""The pieces of a file, one text or several after the other, each by partition. Must be importable, or a partial."""


def partitions(pieces: int) -> int:
    """How many partitions so many pieces want."""
    return min(MOST_PARTITIONS, max(1, -(-pieces // PARTITION)))


def find(shards: Sequence[Path], pieces_of: PiecesOf, n: int, pieces: int, out: Workspace) -> list[Path]:
    """Files that :func:`places` reads, one a partition; ``pieces``: how many there are, about."""
    scratch = out.path / SCRATCH
    files = [_pieces_file(scratch, path) for path in shards]
    found = [_found_file(scratch, index) for index in range(n)]
    if missing(found):
        run_shards(
            partial(_write, pieces_of, n, scratch),
            shards,
            out,
            writes=partial(_pieces_file, scratch),
            input_bytes=pieces,
        )
        run_shards(
            partial(_look_up, files, n, scratch),
            range(n),
            out,
            writes=partial(_found_file, scratch),
            input_bytes=pieces * PIECE_BYTES,
        )
        for path in files:
            path.unlink(missing_ok=True)  # they are the largest that a step has on disk
    return found


def places(found: Iterable[Path], number: int, shards: int) -> npt.NDArray[np.uint32]:
    """Places of the pieces of the file of this number that occurred before, in no order."""
    tables = gather(found, number, shards)
    return np.concatenate([np.zeros(0, np.uint32), *(table["place"].to_numpy() for table in tables)])


def _pieces_file(scratch: Path, shard: Path) -> Path:
    return scratch / "pieces" / f"{shard.stem}.arrows"


def _found_file(scratch: Path, index: int) -> Path:
    return scratch / "repeated" / f"{index:05d}.arrows"


def _write(pieces_of: PiecesOf, n: int, scratch: Path, shard: Path) -> None:
    tables = ([pa.table({"hash": h, "place": p}) for h, p in parts] for parts in pieces_of(shard))
    scatter(tables, n, _pieces_file(scratch, shard), compression=None)


def _look_up(files: list[Path], n: int, scratch: Path, index: int) -> None:
    """The places of a partition's pieces that occurred before, by file."""
    hashes, where, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)], []
    for path in files:
        tables = gather([path], index, n)
        hashes += [table["hash"].to_numpy() for table in tables]
        where += [table["place"].to_numpy() for table in tables]
        sizes.append(sum(table.num_rows for table in tables))
    seen, placed = repeats(np.concatenate(hashes)), np.concatenate(where)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    of_files = [pa.table({"place": placed[a:b][seen[a:b]]}) for a, b in itertools.pairwise(ends.tolist())]
    scatter([of_files], len(files), _found_file(scratch, index))


def repeats(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of a partition's pieces, in corpus order, an earlier one equals."""
    seen = np.zeros(len(hashes), np.bool_)
    kernels.repeats(hashes, np.empty(len(hashes), np.int32), seen)
    return seen
