"""Conversations as a token stream: each whole in a window, answers learnt and nothing else, and no text beside it that
it could see.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from neo_assets.align.packing import packed
from neo_assets.align.sets import conversation_row
from neo_assets.core.records import read_table
from neo_assets.core.store import Artifact, Store
from tests.align.conversations import WINDOW, Words, shards, stream, talks
from tests.training.runs import ROWS, small_run
from training.data.learnt_stream import LearntStream
from training.data.order import IGNORED, TokenStream
from training.data.stream_files import stream_digest, stream_facts
from training.ledger import FILLING, RunLedger
from training.spec import PretrainConfig
from training.templates import ASSISTANT, TEMPLATES, USER, Turn, encode


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("words"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_random_lengths_are_packed_whole_and_no_worse_than_one_after_another() -> None:
    generator = random.Random(1)
    for _ in range(200):
        window = generator.randint(4, 90)
        lengths = [generator.randint(1, window) for _ in range(generator.randint(0, 120))]
        windows = packed(lengths, window)
        assert sorted(i for items in windows for i in items) == list(range(len(lengths)))
        assert all(0 < sum(lengths[i] for i in items) <= window for items in windows)
        one_after_another = room = 0
        for length in lengths:
            if length > room:
                one_after_another, room = one_after_another + 1, window
            room -= length
        assert len(windows) <= one_after_another


def labels_of(made: Artifact, window: int = WINDOW) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    stream = LearntStream(made.path, window, str(stream_facts(made.path)["dtype"]))
    every = np.arange(stream.sequences)
    ids, labels, positions = stream.examples(every)
    assert stream.trained_tokens(every) == int((labels != IGNORED).sum())
    assert [stream.trained_tokens(np.array([i])) for i in every] == (labels != IGNORED).sum(axis=1).tolist()
    return ids, labels, positions


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_labels_are_the_answers_and_their_ends_and_nothing_else(store: Store, words: Words, template: str) -> None:
    given = talks(40)
    made = shards(store, words, {"a": given}, {}, window=400, template=template)
    assert all(check.passed for check in made.verdict), made.verdict
    assert stream_digest(made.path) == stream_facts(made.path)["digest"]
    ids, labels, positions = labels_of(made, 400)
    markers = words.markers(template)
    wanted = {}
    for talk in given:
        encoded = encode(TEMPLATES[template], talk, words.processor.encode, markers)
        pairs = zip(encoded.ids[1:], encoded.learnt[1:], strict=True)
        wanted[tuple(encoded.ids)] = [token if learnt else IGNORED for token, learnt in pairs]
    found = 0
    index = read_table(made.file("index.parquet")).to_pylist()
    flat, flat_labels, flat_positions = ids.reshape(-1), labels.reshape(-1), positions.reshape(-1)
    for row in index[:-1]:
        at = slice(row["position"], row["position"] + row["tokens"])
        assert flat_positions[at].tolist() == list(range(row["tokens"]))  # it sees nothing but itself
        if row["doc_id"] == FILLING:
            assert (flat_labels[at] == IGNORED).all()
            continue
        found += 1
        assert flat_labels[at].tolist() == [*wanted.pop(tuple(flat[at].tolist())), IGNORED]
    assert found == len(given) and not wanted


def test_a_conversation_longer_than_a_window_is_cut_after_an_answer_or_dropped_by_name(
    store: Store, words: Words
) -> None:
    long = "一" * 90
    given = [
        [Turn(USER, "a?"), Turn(ASSISTANT, "b."), Turn(USER, long), Turn(ASSISTANT, "d.")],
        [Turn(USER, long), Turn(ASSISTANT, "too long")],
        [Turn(USER, "e?"), Turn(ASSISTANT, "f.")],
    ]
    made = shards(store, words, {"a": given}, {})
    ids = [conversation_row(talk, "en", "CC0-1.0").key for talk in given]
    told = {row["doc_id"]: row for row in read_table(made.file("verdicts.parquet")).to_pylist()}
    assert [(told[i]["verdict"], told[i]["rule"]) for i in ids] == [
        ("edited", "cut_to_window"), ("dropped", "too_long"), ("kept", "")
    ]  # fmt: skip
    assert told[ids[0]]["detail"] == "2 of 4 turns" and told[ids[1]]["value"] > told[ids[1]]["threshold"] == WINDOW
    assert (made.manifest.rows_in, made.manifest.rows_kept, made.manifest.rows_dropped) == (3, 2, 1)
    assert all(check.passed for check in made.verdict)


def test_rounds_and_parts_of_rounds(store: Store, words: Words) -> None:
    sets = {"a": talks(200, 1, 1), "b": talks(100, 2, 1)}
    made = shards(store, words, sets, {"rounds": {"a": 0.25, "b": 2.0}})
    index = [row for row in read_table(made.file("index.parquet")).to_pylist() if row["doc_id"] != FILLING]
    counts = {name: [row for row in index if row["source"] == name] for name in sets}
    assert 25 < len(counts["a"]) < 80 and len({row["doc_id"] for row in counts["a"]}) == len(counts["a"])
    assert len(counts["b"]) == 200 and {row["round"] for row in counts["b"]} == {0, 1}
    assert made.manifest.rows_in == len(counts["a"]) + 100
    beside = [(row["position"] // WINDOW, row["source"], row["doc_id"]) for row in index]
    assert len(set(beside)) == len(beside)  # no window holds a conversation twice


def test_replayed_windows_are_those_of_pre_training(store: Store, words: Words) -> None:
    made = shards(store, words, {"a": talks(60)}, {"replay": {"phase": "decay", "share": 0.4}})
    ids, labels, positions = labels_of(made)
    before = stream(store, words.ids)
    text = TokenStream(before.path, WINDOW, "uint16")
    plain_ids, plain_labels, plain_positions = text.examples(np.arange(text.sequences))
    known = {tuple(row.tolist()): i for i, row in enumerate(plain_ids)}
    replayed = [
        (row, known[tuple(tokens.tolist())]) for row, tokens in enumerate(ids) if tuple(tokens.tolist()) in known
    ]
    assert len(replayed) == made.manifest.numbers["replayed_windows"]
    share = len(replayed) / len(ids)
    assert abs(share - 0.4) < 0.02
    for row, sequence in replayed:
        assert labels[row, :-1].tolist() == plain_labels[sequence, :-1].tolist()
        assert labels[row, -1] == IGNORED and positions[row].tolist() == plain_positions[sequence].tolist()
    run = small_run(sequence_length=WINDOW, global_batch=len(ids), micro_batch=1, ranks_per_node=1)
    config = PretrainConfig(run_name="x", run_fingerprint="0" * 32, run=run, vocab_rows=ROWS)
    seen = RunLedger.of(config, made.path).saw(1, 1).to_pylist()
    starts = np.load(before.file("offsets.npy"))
    for row in (row for row in seen if row["source"] == "book"):  # which of a document's tokens, not of its piece's
        number = int(row["doc_id"], 16)
        at = int(starts[number]) + row["from_token"]
        piece = text.tokens[at : int(starts[number]) + row["to_token"]]
        assert piece.tolist() == ids[row["sequence"]].tolist()[(at % WINDOW) :][: len(piece)]
    assert FILLING not in {row["doc_id"] for row in seen}
    assert {row["doc_id"] for row in seen if row["source"] == "a"} == {
        conversation_row(talk, "en", "CC0-1.0").key for talk in talks(60)
    }


def test_what_the_tokenizer_spells_in_bytes_is_dropped_with_its_share(store: Store, words: Words) -> None:
    """Bytes of characters, that is: the end of a line is a byte, too, and means nothing of that kind."""
    given = [[Turn(USER, "打开文件"), Turn(ASSISTANT, "𠮷𠮷𠮷")], [Turn(USER, "a\n\n\n\n?"), Turn(ASSISTANT, "b\n.")]]
    pieces = [words.processor.id_to_piece(i) for i in words.processor.encode("𠮷\n")]
    assert pieces[-5:] == ["<0xF0>", "<0xA0>", "<0xAE>", "<0xB7>", "<0x0A>"]
    made = shards(store, words, {"a": given}, {"max_byte_share": 0.3})
    (told,) = (row for row in read_table(made.file("verdicts.parquet")).to_pylist() if row["verdict"] == "dropped")
    encoded = words.encoded("neo", given[0])
    assert told["rule"] == "spelled_in_bytes" and told["value"] >= 12 / len(encoded.ids) > 0.3
    assert (made.manifest.rows_kept, made.manifest.rows_dropped) == (1, 1)
    assert all(check.passed for check in made.verdict)
