"""What a step sees is a pure function of its number, and can be asked backwards."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.order import IGNORED, DataOrder, KeyedPermutation, TokenStream


@given(st.integers(1, 3000), st.text(max_size=8))
def test_a_keyed_permutation_is_a_bijection_and_inverts(n: int, key: str) -> None:
    permutation = KeyedPermutation(n, key)
    images = permutation(np.arange(n))
    assert sorted(images) == list(range(n))
    assert permutation.inverse(images).tolist() == list(range(n))
    assert int(permutation(n - 1)) == images[-1]  # one alone goes where it goes among many


def test_a_permutation_of_many_is_even() -> None:
    """Chi-squared over 64 x 64 cells of (index, image): a shuffle that favours some places would show."""
    n = 1 << 20
    images = KeyedPermutation(n - 3, "even")(np.arange(n - 3))
    cells, _, _ = np.histogram2d(np.arange(n - 3), images, bins=64)
    expected = (n - 3) / 64**2
    assert ((cells - expected) ** 2 / expected).sum() < 63**2 + 6 * np.sqrt(2 * 63**2)
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 0.01


def test_what_lies_outside_is_refused() -> None:
    with pytest.raises(IndexError, match="not inside"):
        KeyedPermutation(5, "k")([0, 5])


def test_a_whole_epoch_sees_every_sequence_once_and_epochs_differ() -> None:
    order = DataOrder(101, seed=1, stream_key="d")
    epochs = [order.sequences_of(np.arange(e * 101, (e + 1) * 101)).tolist() for e in range(3)]
    assert all(sorted(epoch) == list(range(101)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != DataOrder(101, seed=2, stream_key="d").sequences_of(np.arange(101)).tolist()
    assert epochs[0] != DataOrder(101, seed=1, stream_key="e").sequences_of(np.arange(101)).tolist()


def test_samples_of_sequences_are_found_backwards() -> None:
    order = DataOrder(37, seed=5, stream_key="d")
    total = 37 * 2 + 11
    seen: dict[int, list[int]] = {}
    for sample, sequence in enumerate(order.sequences_of(np.arange(total)).tolist()):
        seen.setdefault(sequence, []).append(sample)
    which, samples = order.samples_of(np.arange(37), total)
    assert {s: samples[which == s].tolist() for s in range(37)} == {s: seen.get(s, []) for s in range(37)}


@given(st.integers(0, 30), st.lists(st.integers(0, 60), max_size=8, unique=True), st.integers(1, 40))
def test_places_and_samples_agree_past_what_is_skipped(start: int, bounds: list[int], count: int) -> None:
    bounds = sorted(bounds)[: len(bounds) // 2 * 2]
    skip = tuple((a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    order = DataOrder(1000, seed=0, stream_key="d", start=start, skip=skip)
    by_hand = [s for s in range(start, 200) if not any(a <= s < b for a, b in skip)]
    assert order.samples_at(np.arange(count)).tolist() == by_hand[:count]
    expected = {s: place for place, s in enumerate(by_hand)}
    assert order.places_of(np.arange(100)).tolist() == [expected.get(s, -1) for s in range(100)]


@pytest.fixture(params=["one file", "files", "a file a document"])
def stream(tmp_path: Path, request: pytest.FixtureRequest) -> TokenStream:
    """The same stream, whatever files it lies in."""
    lengths = [5, 1, 9, 3, 7, 8]  # the third crosses a sequence boundary, the second is one token long
    cuts = {"one file": None, "files": [2, 0, 3, 1], "a file a document": [1] * 6}[request.param]
    write_tokens(tmp_path, lengths, cuts)
    return TokenStream(tmp_path, 8, "uint16")


def write_tokens(folder: Path, lengths: list[int], documents: list[int] | None) -> None:
    """Tokens 100, 101, … of documents of these lengths, in files of so many documents each."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    np.save(folder / "offsets.npy", offsets)
    ids = np.arange(100, 100 + sum(lengths), dtype=np.uint16)
    if documents is None:
        ids.tofile(folder / "tokens.bin")
        return
    (folder / "tokens").mkdir()
    segments, at = [], 0
    for number, count in enumerate(documents):
        begin, end = offsets[at], offsets[at + count]
        segments.append([f"{number:03d}-part", int(end - begin), count])
        ids[begin:end].tofile(folder / f"tokens/{number:03d}-part.bin")
        at += count
    (folder / "stream.json").write_text(json.dumps({"segments": segments}))


def test_a_file_of_tokens_that_is_shorter_than_told_is_refused(tmp_path: Path) -> None:
    write_tokens(tmp_path, [5, 1, 9], [1, 2])
    file = tmp_path / "tokens" / "001-part.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"001-part.bin has 18 bytes, 20 are told of it"):
        TokenStream(tmp_path, 4, "uint16")


def test_labels_and_positions_stop_at_document_boundaries(stream: TokenStream) -> None:
    ids, labels, positions = (part[0] for part in stream.examples(np.array([0])))
    assert ids.tolist() == list(range(100, 108))
    assert positions.tolist() == [0, 1, 2, 3, 4, 0, 0, 1]
    assert labels.tolist() == [101, 102, 103, 104, IGNORED, IGNORED, 107, 108]
    ids, labels, positions = (part[0] for part in stream.examples(np.array([1])))
    assert positions.tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        0,
    ]  # starts inside the third document: positions restart at the sequence
    assert labels.tolist() == [109, 110, 111, 112, 113, 114, IGNORED, 116]


def test_trained_tokens_are_counted_exactly(stream: TokenStream) -> None:
    for sequences in ([0], [1, 3], [2, 0, 1]):
        _, labels, _ = stream.examples(np.array(sequences))
        assert stream.trained_tokens(np.array(sequences)) == int((labels != IGNORED).sum())


def test_documents_of_a_sequence_are_those_with_a_token_in_it(stream: TokenStream) -> None:
    assert [list(stream.documents_in(s)) for s in range(stream.sequences)] == [[0, 1, 2], [2, 3], [3, 4], [4, 5]]
    assert [list(stream.sequences_with(d)) for d in range(6)] == [[0], [0], [0, 1], [1, 2], [2, 3], [3]]


def test_a_stream_shorter_than_one_sequence_is_refused(tmp_path: Path) -> None:
    np.arange(5, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    np.save(tmp_path / "offsets.npy", np.array([0, 5]))
    with pytest.raises(ValueError, match="fewer than one sequence"):
        TokenStream(tmp_path, 8, "uint16")
