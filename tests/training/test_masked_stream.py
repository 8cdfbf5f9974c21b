"""A stream that documents were withdrawn from: of these nothing is learnt, all else is where it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.runs import ROWS, small_run, write_shards
from training.data.masked_stream import MaskedStream
from training.data.order import IGNORED, TokenStream
from training.data.stream_files import open_order, stream_digest
from training.data.stream_index import numbers_of
from training.data.tokens import MASKED, ORDER_KEY
from training.ledger import RunLedger
from training.spec import PretrainConfig

END = 1


def mask(shards: Path, numbers: list[int]) -> None:
    """Withdraw the documents with these numbers from a stream."""
    facts = json.loads((shards / "stream.json").read_text())
    offsets = np.load(shards / "offsets.npy")
    tokens = np.fromfile(shards / "tokens.bin", np.uint16)
    for number in numbers:
        tokens[offsets[number] : offsets[number + 1]] = END
    tokens.tofile(shards / "tokens.bin")
    np.save(shards / MASKED, np.array(numbers, np.int64))
    facts = {ORDER_KEY: facts["digest"]} | facts | {"digest": stream_digest(shards)}
    (shards / "stream.json").write_text(json.dumps(facts))


@given(st.lists(st.integers(1, 12), min_size=3, max_size=14), st.data())
def test_nothing_that_was_withdrawn_is_learnt_and_everything_else_as_before(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    np.save(folder / "offsets.npy", offsets)
    np.arange(100, 100 + offsets[-1], dtype=np.uint16).tofile(folder / "tokens.bin")
    length = data.draw(st.integers(1, int(offsets[-1]) - 1))
    gone = sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1)))
    plain = TokenStream(folder, length, "uint16")
    np.save(folder / MASKED, np.array(gone, np.int64))
    masked = MaskedStream(folder, length, "uint16")
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for sequence in range(masked.sequences):
        at = np.array([sequence])
        (_, before, where), (_, after, still) = plain.examples(at), masked.examples(at)
        withdrawn = np.isin(owner[sequence * length + 1 : (sequence + 1) * length + 1], gone)
        assert after[0].tolist() == np.where(withdrawn, IGNORED, before[0]).tolist()
        assert where.tolist() == still.tolist()
        assert masked.trained_tokens(at) == int((after != IGNORED).sum())
    all_of_them = np.arange(masked.sequences)
    assert masked.trained_tokens(all_of_them) == int((masked.examples(all_of_them)[1] != IGNORED).sum())
    assert masked.is_masked(np.arange(len(lengths))).tolist() == [n in gone for n in range(len(lengths))]


def test_a_name_of_no_document_is_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards")
    np.save(shards / MASKED, np.array([7, 10_000]))
    with pytest.raises(ValueError, match="names documents that the stream has not"):
        MaskedStream(shards, 64, "uint16")


def test_the_order_stays_and_no_step_reads_what_was_withdrawn(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", tokens=9_000, documents=300)
    told = PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=small_run(), vocab_rows=ROWS)
    ids = pq.read_table(shards / "index.parquet").column("doc_id").to_pylist()
    gone = ids[40]
    numbers = [number for number, doc_id in enumerate(ids) if doc_id == gone]
    stream, order = open_order(shards, told)
    before = RunLedger.of(told, shards)
    read, seen = before.when([gone, ids[50]]), before.saw(1, told.last_step)
    sequences = [stream.examples(order.sequences_of(np.arange(200)))]

    mask(shards, numbers)

    stream, masked = open_order(shards, told)
    assert isinstance(stream, MaskedStream)
    assert masked.sequences_of(np.arange(200)).tolist() == order.sequences_of(np.arange(200)).tolist()
    after = RunLedger.of(told, shards)
    assert gone in read["doc_id"].to_pylist() and ids[50] in read["doc_id"].to_pylist()
    assert after.when([gone, ids[50]]).to_pylist() == [r for r in read.to_pylist() if r["doc_id"] != gone]
    assert after.saw(1, told.last_step).to_pylist() == [r for r in seen.to_pylist() if r["doc_id"] != gone]
    assert numbers_of(shards, [gone]) == {} and numbers_of(shards, [ids[50]])
    touched = {row["sample"] for row in read.to_pylist() if row["doc_id"] == gone}
    again = stream.examples(masked.sequences_of(np.arange(200)))
    for sample in set(range(200)) - touched:
        for part in range(3):
            assert sequences[0][part][sample].tolist() == again[part][sample].tolist()


def test_the_digest_is_of_what_is_left(tmp_path: Path) -> None:
    """Whether a token is learnt is part of it: a document of one token is the same token, withdrawn or not."""
    shards = write_shards(tmp_path / "shards")
    before = stream_digest(shards)
    np.save(shards / MASKED, np.array([3]))
    assert stream_digest(shards) != before
