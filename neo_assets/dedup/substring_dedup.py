"""``substring_dedup/‹lang›``: of every passage of a fixed length that occurs more than once, only the first occurrence
stays.

The paper's step (MAP-Neo §2.3): every window of 50 characters, wherever it begins; of equal windows all but the first
are cut out. First means: in the document with the smaller id, and there the earlier one. Memory: 16 bytes for each
window of a pass, and one bit for each character of the language's text; a pass takes at most :data:`PASS_WINDOWS`
windows, chosen by hash, so more text means more passes over it (each about 6 ns a character), not more memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.recipe.data import SubstringDedup
from neo_assets.core.shards import run_shards
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup import substring_kernels as kernels
from neo_assets.dedup.cuts import edited
from neo_assets.text import text_kernels
from neo_assets.text.tokens import buffers, string_array

PASS_WINDOWS = 64_000_000
"""Windows looked up in one pass: about 1 GB."""


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
    scratch = out.path / ".logs"
    sizes = [_characters(path) for path in shards]
    firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    marks_file = scratch / "marks.npy"
    if not marks_file.is_file():
        passes = max(1, -(-int(firsts[-1]) // PASS_WINDOWS))
        out.log(f"{int(firsts[-1]):,} characters, {passes} pass{'es' if passes > 1 else ''} over them")
        run_shards(
            partial(_mark_pass, shards, firsts, config.settings.length, passes, scratch / "passes"),
            range(passes),
            out,
            writes=partial(_pass_file, scratch / "passes"),
            input_bytes=int(firsts[-1]),
        )
        marks = np.zeros(int(firsts[-1]) // 8 + 1, np.uint8)
        for index in range(passes):
            marks |= np.load(_pass_file(scratch / "passes", index))
        records.write_array(marks, marks_file)
    begin_of = {path.name: int(first) for path, first in zip(shards, firsts, strict=False)}
    return run_step(
        f"substring_dedup/{config.lang}",
        shards,
        partial(_cut, config.settings, marks_file, begin_of),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _characters(path: Path) -> int:
    """Characters of a shard's texts: UTF-8 bytes that begin one."""
    data = buffers(records.read_table(path, records.DOCUMENT, ["text"]).column("text")).data
    return int(np.count_nonzero((data & 0xC0) != 0x80))


def _pass_file(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.npy"


def _mark_pass(
    shards: list[Path], firsts: npt.NDArray[np.int64], length: int, passes: int, folder: Path, index: int
) -> None:
    """Marks of all windows that belong to one pass, one bit a character."""
    held = []
    for path, first in zip(shards, firsts, strict=False):
        texts = buffers(records.read_table(path, records.DOCUMENT, ["text"]).column("text"))
        held.append(windows(texts.data, texts.offsets, length, passes, index, int(first)))
    marks = np.zeros(int(firsts[-1]) // 8 + 1, np.uint8)
    mark(held, marks)
    records.write_array(marks, _pass_file(folder, index))


Windows = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Hashes and places of a shard's windows, bucket by bucket, and where each bucket ends."""


def windows(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], length: int, passes: int, index: int, first: int
) -> Windows:
    room = int(offsets[-1] - offsets[0])
    hashes, places, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.zeros(kernels.BUCKETS, np.int64)
    n, _ = kernels.spread(data, offsets, length, passes, index, first, hashes, places, ends)
    if n < room // 2:  # what was left untouched took no memory yet; a copy frees the rest
        return hashes[:n].copy(), places[:n].copy(), ends
    return hashes[:n], places[:n], ends


def mark(held: list[Windows], marks: npt.NDArray[np.uint8]) -> int:
    """Mark every window that an earlier one equals, bucket by bucket through all shards. Returns how many there are."""
    repeats = 0
    for bucket in range(kernels.BUCKETS):
        parts = [
            (h[ends[bucket - 1] if bucket else 0 : ends[bucket]], p[ends[bucket - 1] if bucket else 0 : ends[bucket]])
            for h, p, ends in held
        ]
        table = np.zeros(1 << text_kernels.table_bits(sum(len(h) for h, _ in parts) + 1), np.uint64)
        for hashes, places in parts:
            repeats += kernels.mark_repeats(hashes, places, table, marks)
    return repeats


def _cut(
    settings: SubstringDedup, marks_file: Path, begin_of: dict[str, int], documents: pa.Table, shard: Path
) -> Decision:
    held = buffers(documents.column("text"))
    marks = np.load(marks_file, mmap_mode="r")
    n = documents.num_rows
    out, out_offsets, removed = (
        np.empty(int(held.offsets[-1] - held.offsets[0]), np.uint8),
        np.zeros(n + 1, np.int64),
        np.zeros(n, np.int64),
    )
    kernels.without_repeats(
        held.data, held.offsets, settings.length, marks, begin_of[shard.name], out, out_offsets, removed
    )
    return edited(documents, string_array(out, out_offsets), removed, "repeated_substring", settings.min_chars)


STEP = Step("passages once", cut_repeated_substrings)
