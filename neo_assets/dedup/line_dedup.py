"""``line_dedup/‹lang›``: repeated paragraphs of the whole corpus (English), similar lines of one document (Chinese)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.recipe.data import ParagraphDedup, SimilarLineDedup
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, read_footer, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup import line_kernels as kernels
from neo_assets.dedup.cuts import edited
from neo_assets.dedup.repeats import Part, find, partitions, places
from neo_assets.text.characters import character_table
from neo_assets.text.tokens import Buffers, buffers, string_array

LEAST_LINE_BYTES = 20
"""Of text a paragraph, at the least, on average: what the number of partitions goes by."""


def drop_repeated_paragraphs(
    config: StepInput[ParagraphDedup], inputs: Mapping[str, Artifact], out: Workspace
) -> Outcome:
    """Documents without the paragraphs that an earlier document, or the same one earlier, has: first by id, then by
    place.

    A paragraph is what stands between line breaks. Blank lines are nobody's duplicate. Edits have a verdict with the
    share that was cut; a document of which hardly anything is left is dropped.
    """
    (before,) = inputs.values()
    shards = before.files(records.PART)
    size = sum(int(read_footer(path)["text_bytes"]) for path in shards)
    n = partitions(size // LEAST_LINE_BYTES)
    found = find(shards, partial(_paragraphs, config.settings.min_paragraph_bytes, n), n, size, out)
    number = {path.name: i for i, path in enumerate(shards)}
    return run_step(
        f"line_dedup/{config.lang}",
        shards,
        partial(_cut_paragraphs, config.settings, found, number),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def drop_similar_lines(config: StepInput[SimilarLineDedup], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents without the lines that are like an earlier line of the same document (edit distance).

    The paper's step for Chinese: of two lines that differ by at most a tenth of the longer one the later goes; short
    lines must be equal. Edits have a verdict with the share that was cut.
    """
    (before,) = inputs.values()
    return run_step(
        f"line_dedup/{config.lang}",
        before.files(records.PART),
        partial(_cut_similar, config.settings),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def paragraph_hashes(held: Buffers, minimum: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Hashes of all lines of all texts, and where each text's begin."""
    n = len(held.offsets) - 1
    lines = n + int(np.count_nonzero(held.data[held.offsets[0] : held.offsets[-1]] == 10))
    hashes, starts = np.empty(lines, np.uint64), np.empty(n + 1, np.int64)
    kernels.line_hashes(held.data, held.offsets, minimum, hashes, starts)
    return hashes, starts


def _paragraphs(minimum: int, n: int, shard: Path) -> Iterator[list[Part]]:
    """A file's paragraphs that count, by partition of their hashes."""
    texts = records.read_table(shard, records.DOCUMENT, ["text"]).column("text")
    hashes, _ = paragraph_hashes(buffers(texts), minimum)
    (where,) = np.nonzero(hashes)
    partition = hashes[where] & np.uint64(0xFFFF)
    order = np.argsort(partition % np.uint64(n), kind="stable")
    where = where[order]
    ends = np.cumsum(np.bincount((partition % np.uint64(n)).astype(np.int64), minlength=n))[:-1]
    yield [(hashes[part], part.astype(np.uint32)) for part in np.split(where, ends)]


def _cut_paragraphs(
    settings: ParagraphDedup, found: list[Path], number: dict[str, int], documents: pa.Table, shard: Path
) -> Decision:
    held = buffers(documents.column("text"))
    hashes, starts = paragraph_hashes(held, settings.min_paragraph_bytes)
    seen = np.zeros(len(hashes), np.bool_)
    seen[places(found, number[shard.name], len(number))] = True
    out, out_offsets = (
        np.empty(int(held.offsets[-1] - held.offsets[0]), np.uint8),
        np.zeros(documents.num_rows + 1, np.int64),
    )
    kernels.without_lines(held.data, held.offsets, starts, seen, out, out_offsets)
    texts = string_array(out, out_offsets)
    removed = pc.utf8_length(documents.column("text")).to_numpy().astype(np.int64) - pc.utf8_length(texts).to_numpy(
        zero_copy_only=False
    )
    return edited(documents, texts, removed, "repeated_paragraph", settings.min_chars)


def _cut_similar(settings: SimilarLineDedup, documents: pa.Table, shard: Path) -> Decision:
    texts, removed, _ = without_similar_lines(buffers(documents.column("text")), settings)
    return edited(documents, texts, removed, "similar_line", settings.min_chars)


def without_similar_lines(
    held: Buffers, settings: SimilarLineDedup
) -> tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Texts without later similar lines; characters and lines cut out of each."""
    n = len(held.offsets) - 1
    out, out_offsets = np.empty(int(held.offsets[-1] - held.offsets[0]) + 1, np.uint8), np.zeros(n + 1, np.int64)
    chars, lines = np.zeros(n, np.int64), np.zeros(n, np.int64)
    kernels.similar_lines(
        held.data,
        held.offsets,
        character_table().flags,
        settings.max_distance,
        settings.exact_below,
        out,
        out_offsets,
        chars,
        lines,
    )
    return string_array(out, out_offsets), chars, lines


STEP = Step("lines once", {ParagraphDedup: drop_repeated_paragraphs, SimilarLineDedup: drop_similar_lines})
