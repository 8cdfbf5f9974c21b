"""``exact_dedup/‹lang›``: one document per text.

By partitions of the texts' hashes, each looked through by itself: no process holds more than a partition of documents,
some 100 bytes each.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from neo_assets.core import records
from neo_assets.core.shards import missing, run_shards, total_bytes
from neo_assets.core.shuffle import gather, scatter
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import Decision, read_footer, run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.written import SCRATCH
from neo_assets.dedup.clusters import quality_of
from neo_assets.text.tokens import buffers

PARTITION = 8_000_000
"""Documents that are compared together, about."""
MOST_PARTITIONS = 1 << 16
TEXT = pa.schema(
    [
        ("high", pa.uint64()),  # of the text's hash
        ("low", pa.uint64()),
        ("id_high", pa.uint64()),
        ("id_low", pa.uint64()),
        ("quality", pa.int64()),
        ("row", pa.uint32()),  # of the file
    ]
)
TWIN = pa.schema([("row", pa.uint32()), ("id_high", pa.uint64()), ("id_low", pa.uint64())])
"""Of a document that goes: its row, and the one that stays."""


def drop_exact_duplicates(config: StepInput[None], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents whose text no other document has, byte by byte (128-bit hashes).

    Of equal texts the one most surely in its language stays, of those the smallest id; the others name it as their
    twin.
    """
    (before,) = inputs.values()
    shards, scratch = before.files(records.PART), out.path / SCRATCH
    documents = sum(int(read_footer(path)["rows"]) for path in shards)
    n = min(MOST_PARTITIONS, max(1, -(-documents // PARTITION)))
    texts = [_texts_file(scratch, path) for path in shards]
    twins = [_twins_file(scratch, index) for index in range(n)]
    if missing(twins):
        run_shards(
            partial(_hash_texts, n, scratch),
            shards,
            out,
            writes=partial(_texts_file, scratch),
            input_bytes=total_bytes(shards),
        )
        run_shards(
            partial(_find_twins, texts, n, scratch),
            range(n),
            out,
            writes=partial(_twins_file, scratch),
            input_bytes=total_bytes(texts),
        )
    return run_step(
        f"exact_dedup/{config.lang}",
        shards,
        partial(_decide, twins, {path.name: i for i, path in enumerate(shards)}),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _texts_file(scratch: Path, shard: Path) -> Path:
    return scratch / "texts" / f"{shard.stem}.arrows"


def _twins_file(scratch: Path, index: int) -> Path:
    return scratch / "twins" / f"{index:05d}.arrows"


def _hash_texts(n: int, scratch: Path, shard: Path) -> None:
    """What is compared of each document of a file, by partition of the texts' hashes."""
    documents = records.read_table(shard, records.DOCUMENT, ["doc_id", "text", "lang_score"])
    held = buffers(documents.column("text"))
    data, ends = memoryview(held.data.data), held.offsets.tolist()
    raw = b"".join(xxhash.xxh3_128_digest(data[a:b]) for a, b in itertools.pairwise(ends))
    hashes = np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)
    id_high, id_low = records.halves(documents.column("doc_id"))
    rows = np.arange(documents.num_rows, dtype=np.uint32)
    table = pa.table([hashes[:, 0], hashes[:, 1], id_high, id_low, quality_of(documents), rows], schema=TEXT)
    partition = hashes[:, 1] % np.uint64(n)
    parts = [table.filter(pa.array(partition == np.uint64(index))) for index in range(n)]
    scatter([parts], n, _texts_file(scratch, shard))


def _find_twins(texts: list[Path], n: int, scratch: Path, index: int) -> None:
    """The documents of a partition that go, by file, with the one that stays."""
    by_file = [gather([path], index, n) for path in texts]
    file = np.repeat(np.arange(len(texts)), [sum(t.num_rows for t in tables) for tables in by_file])
    table = pa.concat_tables([TEXT.empty_table(), *(t for tables in by_file for t in tables)])
    column = {name: table[name].to_numpy() for name in TEXT.names}
    order = np.lexsort((column["id_low"], column["id_high"], -column["quality"], column["low"], column["high"]))
    high, low = column["high"][order], column["low"][order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    stays = order[first][np.cumsum(first) - 1] if len(order) else order
    gone, kept = order[~first], stays[~first]
    told = pa.table([column["row"][gone], column["id_high"][kept], column["id_low"][kept]], schema=TWIN)
    of_files = [told.filter(pa.array(file[gone] == number)) for number in np.unique(file[gone]).tolist()]
    pieces = [TWIN.empty_table()] * len(texts)
    for number, piece in zip(np.unique(file[gone]).tolist(), of_files, strict=True):
        pieces[number] = piece
    scatter([pieces], len(texts), _twins_file(scratch, index))


def _decide(twins: list[Path], number: dict[str, int], documents: pa.Table, shard: Path) -> Decision:
    decision = Decision.keep(documents.num_rows)
    names = [""] * documents.num_rows
    for table in gather(twins, number[shard.name], len(number)):
        for row, high, low in zip(*(table[name].to_pylist() for name in TWIN.names), strict=True):
            names[row] = f"{high:016x}{low:016x}"
    decision.twin = names
    decision.dropped = np.array([name != "" for name in names], np.bool_)
    decision.rule[decision.dropped] = "same_text"
    decision.value[decision.dropped] = decision.threshold[decision.dropped] = 1.0
    return decision


STEP = Step("no equal text", drop_exact_duplicates)
