"""MinHash LSH finds what it should, and nothing depends on order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neo_assets.core.recipe.data import NearDedup
from neo_assets.dedup.minhash import clusters, keys_of, midpoint, signatures

CHARACTERS = NearDedup(bands=9, rows=13, shingle=13, unit="character", seed=1)
WORDS = NearDedup(bands=9, rows=13, shingle=5, unit="word", seed=1)


def of(texts: list[str], settings: NearDedup = CHARACTERS) -> np.ndarray:
    return signatures(pa.array(texts, pa.string()), settings)


def clustered(folder: Path, table: np.ndarray, bands: int, rows: int) -> np.ndarray:
    np.save(folder / "s.npy", keys_of(table, bands, rows))
    return clusters([folder / "s.npy"], [len(table)], bands)


def test_the_papers_bands_have_their_midpoint_at_0_844() -> None:
    assert midpoint(9, 13) == pytest.approx(0.8445, abs=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        NearDedup(bands=64, rows=8, shingle=1, unit="word", seed=1),
        NearDedup(bands=64, rows=8, shingle=5, unit="character", seed=2),
    ],
)
def test_the_estimate_is_near_the_true_jaccard(settings: NearDedup) -> None:
    left, right = [f"wordnumber{i:05d}" for i in range(1000)], [f"wordnumber{i:05d}" for i in range(200, 1200)]
    texts = [" ".join(left), " ".join(right)]
    sets = (
        [set(left), set(right)]
        if settings.unit == "word"
        else [{t[i : i + settings.shingle] for i in range(len(t) - settings.shingle + 1)} for t in texts]
    )
    a, b = of(texts, settings)
    assert float((a == b).mean()) == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]), abs=0.06)


def test_a_signature_is_the_minimum_over_all_shingles(tmp_path: Path) -> None:
    """The rolling hash gives a shingle the same value wherever it stands."""
    whole = "abcdefghijklmnopqrstuvwxyz0123456789" * 3
    parts = [whole[i : i + 13] for i in range(len(whole) - 12)]
    assert (of([whole])[0] == of(parts).min(axis=0)).all()


@pytest.mark.parametrize("settings", [CHARACTERS, WORDS])
def test_edited_copies_fall_into_one_cluster_and_others_do_not(tmp_path: Path, settings: NearDedup) -> None:
    generator = random.Random(1)
    words = [f"word{i}" for i in range(3000)]
    texts = [" ".join(generator.choices(words, k=600)) for _ in range(20)]
    texts += [t.replace(t.split()[7], "edited", 1) for t in texts[:10]]
    labels = clustered(tmp_path, of(texts, settings), 9, 13)
    assert all(labels[i] == labels[20 + i] for i in range(10))
    assert len(set(labels)) == 20


def test_case_width_punctuation_and_white_space_do_not_count() -> None:
    plain, dressed, other = of(
        [
            "hello world abc123 你好世界 again",
            "  Hello,\n\nWORLD！ ＡＢＣ１２３\t“你好”世界。  (again)",
            "hello world abc124 你好世界 again",
        ]
    )
    assert (plain == dressed).all()
    assert (plain != other).any()


def test_clusters_do_not_depend_on_order_or_on_how_files_are_cut(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = generator.integers(0, 3, size=(60, 8)).astype(np.uint32)
    order = generator.permutation(60)
    plain, shuffled = clustered(tmp_path, table, 4, 2), clustered(tmp_path, table[order], 4, 2)
    groups = {frozenset(np.flatnonzero(plain == label)) for label in set(plain)}
    assert groups == {frozenset(order[i] for i in np.flatnonzero(shuffled == label)) for label in set(shuffled)}
    for i, part in enumerate((table[:13], table[13:50], table[50:])):
        np.save(tmp_path / f"{i}.npy", keys_of(part, 4, 2))
    assert (clusters([tmp_path / f"{i}.npy" for i in range(3)], [13, 37, 10], 4) == plain).all()


def test_the_keys_of_a_band_lie_in_one_piece_and_agree_where_the_band_does() -> None:
    table = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [7, 7, 3, 4]], np.uint32)
    keys = keys_of(table, 2, 2)
    assert keys.shape == (2, 3) and keys[1].flags["C_CONTIGUOUS"]
    assert keys[0, 0] == keys[0, 1] != keys[0, 2] and keys[1, 0] == keys[1, 2] != keys[1, 1]


def test_texts_without_anything_to_shingle_are_alike_and_do_no_harm(tmp_path: Path) -> None:
    labels = clustered(tmp_path, of(["", "。！", "ab", "a real text that is long enough"]), 9, 13)
    assert labels[0] == labels[1] != labels[2] != labels[3]
