"""Made-up tokens as a rehearsal reads them: documents, conversations, or pairs of answers with their reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core import records
from neo_assets.core.recipe.run import Run
from neo_assets.core.trainings import STREAMS, Learning
from training.data.learnt_stream import LEARNT
from training.data.stream_files import stream_digest, stream_facts
from training.reference import FACTS, FILE, REFERENCE

DOCUMENT = 400
"""Mean length of a made-up document, in tokens."""
EACH = -1.0
"""What the made-up reference gives each token of an answer, in nats."""


def write_inputs(root: Path, learns: Learning, vocabulary: int, run: Run) -> dict[str, str]:
    """Everything that a training job of this kind reads, below ``root``: folders by the names of its inputs."""
    window = run.sequence_length
    pairs = STREAMS[learns] == "pair_shards"
    shards = root / "shards"
    write_stream(
        shards,
        vocabulary,
        window * (run.global_batch * run.steps) + 1,
        window if learns != "pretraining" else None,
        pairs,
    )
    if learns != "dpo":
        return {"token_shards": "shards"}
    write_reference(root / "reference", shards)
    return {"token_shards": "shards", REFERENCE: "reference"}


def write_stream(folder: Path, vocabulary: int, tokens: int, window: int | None = None, pairs: bool = False) -> Path:
    """A ``token_shards`` folder of random tokens, cut into documents at random places; with a ``window``, one of
    ``conversation_shards``, of which every other token is learnt; of ``pairs``, two documents a window.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    dtype = "uint16" if vocabulary <= 1 << 16 else "uint32"
    ((generator.zipf(1.2, tokens) - 1) % vocabulary).astype(dtype).tofile(folder / "tokens.bin")
    if window and pairs:
        begins = np.arange(0, tokens - 1, window)
        cuts = np.concatenate([begins, begins + generator.integers(2, window - 1, len(begins)), [tokens - 1]])
    else:
        cuts = generator.choice(np.arange(1, tokens), max(1, tokens // DOCUMENT), replace=False)
    offsets = np.unique(np.concatenate([[0], cuts, [tokens]])).astype(np.int64)
    np.save(folder / "offsets.npy", offsets)
    n = len(offsets) - 1
    index = {
        "position": offsets[:-1],
        "doc_id": [f"{i:032x}" for i in range(n)],
        "round": [0] * n,
        "source": ["made up"] * n,
        "lang": ["en"] * n,
        "tokens": np.diff(offsets),
    }
    pq.write_table(pa.table(index), folder / "index.parquet")
    if window:
        learnt = (np.arange(tokens) % 2).astype(np.uint8)
        learnt[offsets[:-1]] = 0
        learnt.tofile(folder / LEARNT)
    facts = {"dtype": dtype, "digest": stream_digest(folder), "window": window}
    if pairs:
        facts["pairs"] = (tokens - 1) // (window or 1)
    (folder / "stream.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def write_reference(folder: Path, shards: Path) -> None:
    """Sums for every pair of a stream, as if each learnt token were as likely."""
    facts = stream_facts(shards)
    windows, pairs = int(str(facts["window"])), int(str(facts["pairs"]))
    offsets = np.load(shards / "offsets.npy")
    learnt = np.concatenate([[0], np.cumsum(np.fromfile(shards / LEARNT, np.uint8))])
    sums = np.zeros((pairs, 2), np.float32)
    for pair in range(pairs):
        at = int(np.searchsorted(offsets, pair * windows))
        ends = offsets[at : at + 3]
        sums[pair] = EACH * np.diff(learnt[ends])
    folder.mkdir()
    records.write_array(sums, folder / FILE)
    records.write_text(folder / FACTS, json.dumps({"pairs": facts["digest"]}))
