"""``exact_dedup/‹lang›``: one document per text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from neo_assets.core import records
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.stage import Step, StepInput
from neo_assets.core.steps import run_step
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.dedup.clusters import Candidates, drop_losers, write_choices
from neo_assets.text.tokens import buffers


def drop_exact_duplicates(config: StepInput[None], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Documents whose text no other document has, byte by byte (128-bit hashes).

    Of equal texts the one most surely in its language stays, of those the smallest id; the others name it as their
    twin. Memory grows by about 100 bytes a document of the language.
    """
    (before,) = inputs.values()
    shards = before.files(records.PART)
    scratch = out.path / ".logs"
    run_shards(
        partial(_hash_shard, scratch / "hashes"),
        shards,
        out,
        writes=partial(records.array_file, scratch / "hashes"),
        input_bytes=total_bytes(shards),
    )
    hashes = (
        np.concatenate([np.load(records.array_file(scratch / "hashes", path)) for path in shards])
        if shards
        else np.zeros((0, 2), np.uint64)
    )
    _, cluster = np.unique(hashes.view([("high", np.uint64), ("low", np.uint64)]).ravel(), return_inverse=True)
    candidates = Candidates.read(shards)
    keepers = candidates.keepers(cluster.astype(np.int64))
    write_choices(scratch / "choices", shards, candidates, keepers, np.ones(len(keepers)))
    return run_step(
        f"exact_dedup/{config.lang}",
        shards,
        partial(drop_losers, "same_text", 1.0, scratch / "choices"),
        out,
        expected=before.manifest.rows_kept or 0,
    )


def _hash_shard(folder: Path, shard: Path) -> None:
    held = buffers(records.read_table(shard, records.DOCUMENT, ["text"]).column("text"))
    data, places = memoryview(held.data.data), held.offsets.tolist()
    raw = b"".join(xxhash.xxh3_128_digest(data[a:b]) for a, b in itertools.pairwise(places))
    records.write_array(np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64), records.array_file(folder, shard))


STEP = Step("no equal text", drop_exact_duplicates)
