"""Document <-> step, against what the loader really yields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.training.runs import ROWS, small_run, write_shards
from training.data.order import IGNORED
from training.data.token_stream import open_batches
from training.ledger import RunLedger
from training.spec import PretrainConfig, Start


def config(start: Start | None = None, **changes: object) -> PretrainConfig:
    return PretrainConfig(
        run_name="r", run_fingerprint="f" * 32, run=small_run(**changes), vocab_rows=ROWS, start=start
    )


BRANCH = Start(folder="unused", digest="d", step=10, next_sample=95, take="everything")


@pytest.mark.parametrize(
    ("start", "changes"),
    [
        (None, {}),
        (None, {"global_batch": 24, "ranks_per_node": 2, "micro_batch": 4}),
        (None, {"skip_samples": [[3, 17], [100, 101]]}),
        (BRANCH, {"skip_samples": [[90, 99], [170, 220]], "parent": {"run": "r", "step": 10, "take": "everything"}}),
    ],
)
def test_both_directions_are_what_the_loader_yields(
    tmp_path: Path, start: Start | None, changes: dict[str, object]
) -> None:
    shards = write_shards(
        tmp_path / "shards", tokens=9_000, documents=300
    )  # several epochs; documents from one token to many sequences
    told = config(start, **changes)
    ledger = RunLedger.of(told, shards)
    ids = pq.read_table(shards / "index.parquet").column("doc_id").to_pylist()
    owner = np.repeat(np.arange(len(ids)), np.diff(np.load(shards / "offsets.npy")))
    tokens = np.fromfile(shards / "tokens.bin", dtype=np.uint16)

    # Brute force: every rank's every micro-batch, as training reads them, laid back onto the stream token by token.
    expected: set[tuple[int, int, int, str]] = set()  # (step, place in the batch, token of the stream, document)
    for rank in range(told.run.ranks):
        batches = open_batches(shards, told, rank, torch.device("cpu"), "sdpa")
        for step in range(told.first_step, told.last_step):
            sequences = batches.sequences(step)
            for index in range(told.run.accumulation):
                inputs, labels = batches.micro(sequences, index)
                begin = (index * told.run.data_parallel + rank) * told.run.micro_batch
                for row in range(told.run.micro_batch):
                    at = int(sequences[begin + row]) * told.run.sequence_length
                    assert inputs["input_ids"][row].tolist() == tokens[at : at + told.run.sequence_length].tolist()
                    assert (labels[row] == IGNORED).sum() == (
                        np.diff(owner[at : at + told.run.sequence_length + 1]) != 0
                    ).sum()
                    expected |= {
                        (step + 1, begin + row, at + k, ids[owner[at + k]]) for k in range(told.run.sequence_length)
                    }

    offsets = np.load(shards / "offsets.npy")
    saw = ledger.saw(told.first_step + 1, told.last_step).to_pylist()
    numbers = _documents_of(saw, owner, ids, told.run.sequence_length)
    got = {
        (row["step"], row["place"], int(offsets[number]) + k, row["doc_id"])
        for row, number in zip(saw, numbers, strict=True)
        for k in range(row["from_token"], row["to_token"])
    }
    assert got == expected
    for doc_id in sorted(set(ids))[::7]:
        rows = ledger.when([doc_id]).to_pylist()
        mine = {(r["step"], r["place"], r["from_token"], r["to_token"]) for r in rows}
        assert mine == {(r["step"], r["place"], r["from_token"], r["to_token"]) for r in saw if r["doc_id"] == doc_id}
        assert sum(r["to_token"] - r["from_token"] for r in rows) == sum(1 for e in expected if e[3] == doc_id)
    assert ledger.when(["nobody"]).num_rows == 0


def _documents_of(rows: list[dict[str, int]], owner: np.ndarray, ids: list[str], length: int) -> list[int]:
    """Number of the document in the stream of each row: an id may stand there several times."""
    out, last = [], None
    for row in rows:
        here = (row["step"], row["place"])
        number = int(owner[row["sequence"] * length]) if here != last else out[-1] + 1
        assert ids[number] == row["doc_id"]
        out.append(number)
        last = here
    return out
