"""``trace_index``: the training pool as text in which any passage is found within milliseconds.

A shard is a run of the pool's files, not larger than the recipe allows, as five files:

    text-00000.bin        UTF-8 of its documents, each ended by a NUL byte
    entries-00000.u32     where units begin in it (words, characters of Chinese), in the order of what follows there
    heads-00000.bin       the first 24 bytes of each 64th of these, so that a search begins in one place of memory
    offsets-00000.i64     where each document begins, and the end
    documents-00000.arrow id, address, title, source, licence, language of each, 256 to a compressed batch

The whole suffix array of a shard is built (libdivsufsort) and one entry of four bytes a unit is kept, which finds what
begins with a unit. Tokens would take less, and would lose what does not begin with one (docs/decisions.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.shards import run_shards
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.core.written import Hashing
from neo_assets.text.characters import character_table
from neo_assets.text.tokens import buffers
from neo_assets.trace.trace_kernels import HEAD, STEP, keep_marked, mark_units, write_heads

KEY = "trace_index"
BATCH = 256
"""Documents in a compressed batch of what is told of them."""
TOLD = ("doc_id", "url", "title", "source", "licence", "lang")
_CHUNK = 1 << 24


class TraceInput(Section):
    shard_mb: int


@dataclass(frozen=True)
class Shard:
    """Files of the pool that are sorted together."""

    number: int
    files: Sequence[Path]


def file_of(folder: Path, kind: str, number: int) -> Path:
    suffix = {"text": "bin", "entries": "u32", "heads": "bin", "offsets": "i64", "documents": "arrow"}[kind]
    return folder / f"{kind}-{number:05d}.{suffix}"


def index_pool(config: TraceInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The training pool as an index of its text: whatever a model writes is looked for in it, and what stands there
    verbatim leads to documents, and to the steps that read them.
    """
    files = inputs["train_pool"].files(records.PART)
    sizes = {path: int((records.text_lengths(path) + 1).sum()) for path in files}
    shards = _shards(files, sizes, config.shard_mb << 20)
    told = out.path / ".logs" / "told"
    run_shards(
        partial(_index_shard, out.path, told),
        shards,
        out,
        writes=lambda shard: told / f"{shard.number:05d}.json",
        input_bytes=sum(sizes.values()) * 10,  # sorting takes about ten times as long as reading
    )
    rows = [json.loads((told / f"{s.number:05d}.json").read_text(encoding="utf-8")) for s in shards]
    size, documents = sum(row["bytes"] for row in rows), sum(row["documents"] for row in rows)
    entries = sum(row["entries"] for row in rows)
    out.write_text("shards.json", json.dumps([{k: row[k] for k in ("bytes", "documents", "entries")} for row in rows]))
    written = sum(path.stat().st_size for path in out.path.iterdir() if path.is_file())
    expected = inputs["train_pool"].manifest.rows_kept
    return Outcome(
        digest=digest_json([row["digests"] for row in rows]),
        rows_in=expected,
        rows_kept=documents,
        rows_dropped=0,
        numbers={
            "documents": documents,
            "bytes_of_text": size,
            "units": entries,
            "shards": len(shards),
            "bytes_a_byte_of_text": round(written / max(size, 1), 3),
        },
        checks=[
            Check(
                name="whole_pool",
                passed=documents == expected,
                detail=f"{documents} documents in the index, {expected} in train_pool",
            )
        ],
    )


def _shards(files: Sequence[Path], sizes: Mapping[Path, int], most: int) -> list[Shard]:
    """Files in their order, so many together as fit. Raises BadInput for one that does not fit by itself."""
    groups: list[list[Path]] = []
    held = most + 1
    for path in files:
        if sizes[path] > most:
            raise BadInput(
                f"{path.name} of train_pool has {sizes[path] / (1 << 20):.0f} MiB of text, more than trace.shard_mb"
                f" ({most >> 20}) allows to be sorted at once"
            )
        if held + sizes[path] > most:
            groups.append([])
            held = 0
        groups[-1].append(path)
        held += sizes[path]
    return [Shard(number, group) for number, group in enumerate(groups)]


def _index_shard(folder: Path, told: Path, shard: Shard) -> None:
    text, offsets = _write_documents(folder, shard)
    digests = {"text": _write(file_of(folder, "text", shard.number), text)}
    entries, digests["entries"] = _write_entries(file_of(folder, "entries", shard.number), text)
    heads = np.zeros((-(-len(entries) // STEP), HEAD), np.uint8)
    write_heads(text, entries, heads)
    digests["heads"] = _write(file_of(folder, "heads", shard.number), heads)
    digests["offsets"] = _write(file_of(folder, "offsets", shard.number), offsets)
    row = {"bytes": len(text), "documents": len(offsets) - 1, "entries": len(entries), "digests": digests}
    records.write_text(told / f"{shard.number:05d}.json", json.dumps(row))


def _write_documents(folder: Path, shard: Shard) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(text of all documents, each ended by a NUL; where each begins, and the end); what is told of them is written."""
    path = file_of(folder, "documents", shard.number)
    schema = pa.schema([records.DOCUMENT.field(name) for name in TOLD])
    pieces, lengths, rows = [], [np.zeros(1, np.int64)], []
    for file in shard.files:
        table = records.read_table(file, records.DOCUMENT, [*TOLD, "text"])
        held = buffers(table.column("text"))
        pieces.append(_ended(held.data, held.offsets))
        lengths.append(np.diff(held.offsets) + 1)
        rows.append(table.select(TOLD).replace_schema_metadata(None))
    aside, all_rows = records.aside_of(path), pa.concat_tables(rows).cast(schema).combine_chunks()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        Hashing(aside) as stream,
        pa.ipc.new_file(pa.PythonFile(stream, mode="w"), schema, options=options) as writer,
    ):
        for batch in all_rows.to_batches(max_chunksize=BATCH):  # of one chunk: all but the last are full
            writer.write_batch(batch)
    records.fsync_rename(aside, path, stream.digest())
    return np.concatenate([np.zeros(0, np.uint8), *pieces]), np.cumsum(np.concatenate(lengths))


def _ended(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Texts one after another, a NUL after each."""
    out = np.zeros(int(offsets[-1] - offsets[0]) + len(offsets) - 1, np.uint8)
    kept = np.ones(len(out), np.bool_)
    kept[offsets[1:] - offsets[0] + np.arange(len(offsets) - 1)] = False
    out[kept] = data[offsets[0] : offsets[-1]]
    return out


def _write_entries(path: Path, text: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint32], str]:
    """(where units begin, in the order of what follows there; digest of the file that they were written to)."""
    from pydivsufsort import divsufsort

    bits = np.zeros(len(text) // 8 + 1, np.uint8)
    mark_units(text, character_table().flags, bits)
    suffixes = divsufsort(text) if len(text) else np.zeros(0, np.int32)
    aside, kept = records.aside_of(path), np.empty(_CHUNK, np.uint32)
    with Hashing(aside) as stream:
        for begin in range(0, len(suffixes), _CHUNK):
            count = keep_marked(suffixes[begin : begin + _CHUNK], bits, kept)
            stream.write(kept[:count].tobytes())
    del suffixes
    records.fsync_rename(aside, path, stream.digest())
    return np.fromfile(path, np.uint32), stream.digest()


def _write(path: Path, array: npt.NDArray[Any]) -> str:
    """Write an array's bytes, whole or not at all; returns their digest."""
    aside = records.aside_of(path)
    with Hashing(aside) as stream:
        stream.write(array.data.cast("B") if array.size else b"")
    records.fsync_rename(aside, path, stream.digest())
    return stream.digest()
