"""``substring_dedup/‹lang›``: of every passage of a fixed length that occurs more than once, only the first occurrence
stays.

The paper's step (MAP-Neo §2.3): every window of 50 characters, wherever it begins; of equal windows all but the first
are cut out. First means: in the document with the smaller id, and there the earlier one.

Linear in the text: each file writes its windows (hash and place, 12 bytes each) once, by partitions of their hashes;
each partition is looked through by itself, and tells each file which of its windows occurred before. Scratch on disk:
12 bytes a character; memory of a process: some 20 bytes for each of the :data:`PARTITION_WINDOWS` windows of a
partition.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from neo_assets.core import records
from neo_assets.core.recipe.data import SubstringDedup
from neo_assets.core.shards import missing, run_shards
from neo_assets.core.shuffle import gather, scatter
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, read_footer, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.written import SCRATCH
from neo_assets.dedup import substring_kernels as kernels
from neo_assets.dedup.cuts import edited
from neo_assets.text.tokens import Buffers, buffers, string_array

PARTITION_WINDOWS = 48_000_000
"""Windows of a partition, about, which are looked up together: about 1 GB."""
MOST_PARTITIONS = 1 << 16
WINDOW_BYTES = 12
CHUNK_BYTES = 8_000_000
"""Text whose windows are in memory at a time while a file's are written."""


def cut_repeated_substrings(
    config: StepInput[SubstringDedup], inputs: Mapping[str, Artifact], out: Workspace
) -> Outcome:
    """Documents without the passages that stand, character by character, in an earlier document or earlier in the same
    one.

    A document that lost something has an *edit* verdict with the share it lost; one of which hardly anything is left is
    dropped.
    """
    (before,) = inputs.values()
    shards = before.files(records.PART)
    scratch, settings = out.path / SCRATCH, config.settings
    size = sum(int(read_footer(path)["text_bytes"]) for path in shards)
    n = min(MOST_PARTITIONS, max(1, -(-size // (PARTITION_WINDOWS * settings.one_in))))
    files = [scratch / "windows" / f"{path.stem}.arrows" for path in shards]
    repeated = [_repeated_file(scratch / "repeated", index) for index in range(n)]
    if missing(repeated):
        out.log(f"{size:,} bytes of text, windows in {n} partition{'s' if n > 1 else ''}")
        run_shards(
            partial(_write_windows, settings, n, scratch / "windows"),
            shards,
            out,
            writes=lambda path: scratch / "windows" / f"{path.stem}.arrows",
            input_bytes=size,
        )
        run_shards(
            partial(_find_repeated, files, n, scratch / "repeated"),
            range(n),
            out,
            writes=partial(_repeated_file, scratch / "repeated"),
            input_bytes=size * WINDOW_BYTES,
        )
        for path in files:
            path.unlink(missing_ok=True)  # they are the largest that this step has on disk
    number = {path.name: i for i, path in enumerate(shards)}
    return run_step(
        f"substring_dedup/{config.lang}",
        shards,
        partial(_cut, settings, repeated, number),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _repeated_file(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.arrows"


def _write_windows(settings: SubstringDedup, n: int, folder: Path, shard: Path) -> None:
    """The windows of one file, by partition. Places are counted from the file's first character."""
    documents = records.read_table(shard, records.DOCUMENT, ["text", "source"])
    scatter(_windows(documents, settings, n), n, folder / f"{shard.stem}.arrows", compression=None)


def _windows(documents: pa.Table, settings: SubstringDedup, n: int) -> Iterator[list[pa.Table]]:
    """Of some documents after the other, their windows by partition."""
    first = 0
    for chunk in _chunks(documents):
        seeds = np.zeros(chunk.num_rows, np.uint64)
        if settings.scope == "source":
            seeds = np.array([xxhash.xxh3_64_intdigest(s.encode()) for s in chunk["source"].to_pylist()], np.uint64)
        parts, characters = windows(buffers(chunk.column("text")), settings.length, n, first, seeds, settings.one_in)
        first += characters
        yield [pa.table({"hash": hashes, "place": places}) for hashes, places in parts]


def _chunks(documents: pa.Table) -> Iterator[pa.Table]:
    """The documents in pieces of about :data:`CHUNK_BYTES` of text, at least one each."""
    ends = np.cumsum(pc.binary_length(documents["text"]).to_numpy()) if documents.num_rows else np.zeros(0, np.int64)
    begin = 0
    while begin < documents.num_rows:
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK_BYTES, side="right")))
        yield documents.slice(begin, end - begin)
        begin = end


Part = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]
"""Hashes and places of the windows of a partition, in their order."""


def windows(
    held: Buffers, length: int, n: int, first: int, seeds: npt.NDArray[np.uint64], one_in: int = 1
) -> tuple[list[Part], int]:
    """(windows of some texts by partition, characters of the texts)."""
    room = int(held.offsets[-1] - held.offsets[0])
    hashes, places, ends = np.empty(room, np.uint64), np.empty(room, np.uint32), np.zeros(n, np.int64)
    total, size = kernels.spread(held.data, held.offsets, length, n, one_in, seeds, first, hashes, places, ends)
    cuts = ends[:-1]
    return list(zip(np.split(hashes[:total], cuts), np.split(places[:total], cuts), strict=True)), size


def repeats(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of a partition's windows, in corpus order, an earlier one equals."""
    seen = np.zeros(len(hashes), np.bool_)
    kernels.repeats(hashes, np.empty(len(hashes), np.int32), seen)
    return seen


def _find_repeated(files: list[Path], n: int, folder: Path, index: int) -> None:
    """The places of a partition's windows that occurred before, by file."""
    hashes, places, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)], []
    for path in files:
        tables = gather([path], index, n)
        hashes += [table["hash"].to_numpy() for table in tables]
        places += [table["place"].to_numpy() for table in tables]
        sizes.append(sum(table.num_rows for table in tables))
    seen, where = repeats(np.concatenate(hashes)), np.concatenate(places)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    of_files = [pa.table({"place": where[a:b][seen[a:b]]}) for a, b in itertools.pairwise(ends.tolist())]
    scatter([of_files], len(files), _repeated_file(folder, index))


def _cut(
    settings: SubstringDedup, repeated: list[Path], number: dict[str, int], documents: pa.Table, shard: Path
) -> Decision:
    held = buffers(documents.column("text"))
    marks = np.zeros(int(held.offsets[-1] - held.offsets[0]) // 8 + 1, np.uint8)
    for table in gather(repeated, number[shard.name], len(number)):
        kernels.mark(table["place"].to_numpy(), marks)
    n = documents.num_rows
    out, out_offsets, removed = (
        np.empty(int(held.offsets[-1] - held.offsets[0]), np.uint8),
        np.zeros(n + 1, np.int64),
        np.zeros(n, np.int64),
    )
    kernels.without_repeats(held.data, held.offsets, settings.length, marks, 0, out, out_offsets, removed)
    return edited(documents, string_array(out, out_offsets), removed, "repeated_substring", settings.min_chars)


STEP = Step("passages once", cut_repeated_substrings)
