"""What a step sees is a pure function of its number, and can be asked backwards."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data_order import IGNORED, DataOrder, KeyedPermutation, TokenStream


@given(st.integers(1, 3000), st.text(max_size=8))
def test_a_keyed_permutation_is_a_bijection_and_inverts(n: int, key: str) -> None:
    permutation = KeyedPermutation(n, key)
    images = [permutation(i) for i in range(min(n, 200))]
    assert len(set(images)) == len(images)
    assert all(0 <= v < n for v in images)
    assert [permutation.inverse(v) for v in images] == list(range(len(images)))


def test_a_whole_epoch_sees_every_sequence_once_and_epochs_differ() -> None:
    order = DataOrder(101, seed=1, stream_digest="d")
    epochs = [[order.sequence_of(e * 101 + i) for i in range(101)] for e in range(3)]
    assert all(sorted(epoch) == list(range(101)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != [DataOrder(101, seed=2, stream_digest="d").sequence_of(i) for i in range(101)]
    assert epochs[0] != [DataOrder(101, seed=1, stream_digest="e").sequence_of(i) for i in range(101)]


def test_samples_of_a_sequence_are_found_backwards() -> None:
    order = DataOrder(37, seed=5, stream_digest="d")
    total = 37 * 2 + 11
    seen: dict[int, list[int]] = {}
    for k in range(total):
        seen.setdefault(order.sequence_of(k), []).append(k)
    assert all(order.samples_of(s, total) == seen.get(s, []) for s in range(37))


@pytest.fixture
def stream(tmp_path: Path) -> TokenStream:
    lengths = [5, 1, 9, 3, 7, 8]  # the third crosses a sequence boundary, the second is one token long
    np.arange(100, 100 + sum(lengths), dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    np.save(tmp_path / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    return TokenStream(tmp_path, 8, "uint16")


def test_labels_and_positions_stop_at_document_boundaries(stream: TokenStream) -> None:
    ids, labels, positions = stream.example(0)
    assert ids.tolist() == list(range(100, 108))
    assert positions.tolist() == [0, 1, 2, 3, 4, 0, 0, 1]
    assert labels.tolist() == [101, 102, 103, 104, IGNORED, IGNORED, 107, 108]
    ids, labels, positions = stream.example(1)
    assert positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 0]  # starts inside the third document: positions restart at the sequence
    assert labels.tolist() == [109, 110, 111, 112, 113, 114, IGNORED, 116]


def test_trained_tokens_are_counted_exactly(stream: TokenStream) -> None:
    for sequence in range(stream.sequences):
        _, labels, _ = stream.example(sequence)
        assert stream.trained_tokens(sequence) == int((labels != IGNORED).sum())


def test_documents_of_a_sequence_are_those_with_a_token_in_it(stream: TokenStream) -> None:
    assert [list(stream.documents_in(s)) for s in range(stream.sequences)] == [[0, 1, 2], [2, 3], [3, 4], [4, 5]]


def test_a_stream_shorter_than_one_sequence_is_refused(tmp_path: Path) -> None:
    np.arange(5, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    np.save(tmp_path / "offsets.npy", np.array([0, 5]))
    with pytest.raises(ValueError, match="fewer than one sequence"):
        TokenStream(tmp_path, 8, "uint16")
