"""``substring_dedup/‹lang›``: of every passage of a fixed length that occurs more than once, only the first occurrence
stays.

The paper's step (MAP-Neo §2.3): every window of 50 characters, wherever it begins; of equal windows all but the first
are cut out. First means: in the document with the smaller id, and there the earlier one.

Windows are looked up by partitions of their hashes (``repeats.py``): the text is read twice, scratch on disk is 12
bytes a character.
"""

from __future__ import annotations

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
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, read_footer, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup import substring_kernels as kernels
from neo_assets.dedup.cuts import edited
from neo_assets.dedup.repeats import Part, find, partitions, places
from neo_assets.text.tokens import Buffers, buffers, string_array

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
    shards, settings = before.files(records.PART), config.settings
    size = sum(int(read_footer(path)["text_bytes"]) for path in shards)
    n = partitions(size // settings.one_in)
    out.log(f"{size:,} bytes of text, windows in {n} partition{'s' if n > 1 else ''}")
    found = find(shards, partial(_windows, settings, n), n, size, out)
    number = {path.name: i for i, path in enumerate(shards)}
    return run_step(
        f"substring_dedup/{config.lang}",
        shards,
        partial(_cut, settings, found, number),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _windows(settings: SubstringDedup, n: int, shard: Path) -> Iterator[list[Part]]:
    """Windows of some documents of a file after the other. Places are counted from the file's first character."""
    documents, first = records.read_table(shard, records.DOCUMENT, ["text", "source"]), 0
    for chunk in _chunks(documents):
        seeds = np.zeros(chunk.num_rows, np.uint64)
        if settings.scope == "source":
            seeds = np.array([xxhash.xxh3_64_intdigest(s.encode()) for s in chunk["source"].to_pylist()], np.uint64)
        parts, characters = windows(buffers(chunk.column("text")), settings.length, n, first, seeds, settings.one_in)
        first += characters
        yield parts


def _chunks(documents: pa.Table) -> Iterator[pa.Table]:
    """The documents in pieces of about :data:`CHUNK_BYTES` of text, at least one each."""
    ends = np.cumsum(pc.binary_length(documents["text"]).to_numpy()) if documents.num_rows else np.zeros(0, np.int64)
    begin = 0
    while begin < documents.num_rows:
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK_BYTES, side="right")))
        yield documents.slice(begin, end - begin)
        begin = end


def windows(
    held: Buffers, length: int, n: int, first: int, seeds: npt.NDArray[np.uint64], one_in: int = 1
) -> tuple[list[Part], int]:
    """(windows of some texts by partition, characters of the texts)."""
    room = int(held.offsets[-1] - held.offsets[0])
    hashes, where, ends = np.empty(room, np.uint64), np.empty(room, np.uint32), np.zeros(n, np.int64)
    total, size = kernels.spread(held.data, held.offsets, length, n, one_in, seeds, first, hashes, where, ends)
    cuts = ends[:-1]
    return list(zip(np.split(hashes[:total], cuts), np.split(where[:total], cuts), strict=True)), size


def _cut(
    settings: SubstringDedup, found: list[Path], number: dict[str, int], documents: pa.Table, shard: Path
) -> Decision:
    held = buffers(documents.column("text"))
    marks = np.zeros(int(held.offsets[-1] - held.offsets[0]) // 8 + 1, np.uint8)
    kernels.mark(places(found, number[shard.name], len(number)), marks)
    n = documents.num_rows
    out, out_offsets, removed = (
        np.empty(int(held.offsets[-1] - held.offsets[0]), np.uint8),
        np.zeros(n + 1, np.int64),
        np.zeros(n, np.int64),
    )
    kernels.without_repeats(held.data, held.offsets, settings.length, marks, 0, out, out_offsets, removed)
    return edited(documents, string_array(out, out_offsets), removed, "repeated_substring", settings.min_chars)


STEP = Step("passages once", cut_repeated_substrings)
