"""How long `neo saw` and `neo when` compute at 100 million tokens: ``python -m benchmarks.ledger [millions of
tokens]``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neo_assets.core.recipe import load
from training.ledger import RunLedger
from training.spec import PretrainConfig


def write_stream(folder: Path, tokens: int) -> list[str]:
    """A token stream of documents with 500 tokens on average. Returns their ids."""
    generator = np.random.default_rng(0)
    lengths = generator.geometric(1 / 500, tokens // 500)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.memmap(folder / "tokens.bin", dtype=np.uint16, mode="w+", shape=(int(offsets[-1]),)).flush()
    np.save(folder / "offsets.npy", offsets)
    ids = [f"{i:032x}" for i in generator.permutation(len(lengths))]
    count = len(ids)
    pq.write_table(
        pa.table({"doc_id": ids, "round": np.zeros(count, np.int32), "source": ["s"] * count, "lang": ["en"] * count}),
        folder / "index.parquet",
    )
    (folder / "stream.json").write_text('{"dtype": "uint16", "digest": "d"}')
    return ids


def timed(call, times: int = 7) -> float:  # type: ignore[no-untyped-def]
    taken = []
    for turn in range(times):
        began = time.perf_counter()
        call(turn)
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000


if __name__ == "__main__":
    tokens = int(float(sys.argv[1] if len(sys.argv) > 1 else 100) * 1e6)
    run = load("laptop").runs["main"]
    epochs = 4
    steps = epochs * tokens // run.tokens_per_step
    run = run.model_copy(update={"steps": steps})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = write_stream(folder, tokens)
        config = PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=run, vocab_rows=6016)
        print(
            f"{tokens:,} tokens, {len(ids):,} documents, {steps:,} steps of {run.tokens_per_step:,} tokens, {epochs}"
            " epochs"
        )
        print(f"open:                {timed(lambda _: RunLedger.of(config, folder)):8.1f} ms")
        ledger = RunLedger.of(config, folder)
        print(f"saw, 1 step:         {timed(lambda turn: ledger.saw(1000 + turn, 1000 + turn)):8.1f} ms")
        print(f"saw, 1000 steps:     {timed(lambda turn: ledger.saw(1000 + turn, 1999 + turn)):8.1f} ms")
        print(f"when, one document:  {timed(lambda turn: ledger.when([ids[turn * 100]])):8.1f} ms")
