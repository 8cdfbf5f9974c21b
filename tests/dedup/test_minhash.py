"""MinHash LSH finds what it should, and nothing depends on order."""

import random

import numpy as np
import pytest

from neo_assets.dedup.minhash import MinHash, clusters, midpoint, normalise, shingles, similarity


def test_the_papers_bands_have_their_midpoint_at_0_844() -> None:
    assert midpoint(9, 13) == pytest.approx(0.8445, abs=1e-3)


def test_the_estimate_is_near_the_true_jaccard() -> None:
    a = {f"s{i}" for i in range(1000)}
    b = {f"s{i}" for i in range(200, 1200)}
    true = len(a & b) / len(a | b)
    hasher = MinHash(512, seed=1)
    assert similarity(hasher.signature(a), hasher.signature(b)) == pytest.approx(true, abs=0.06)


def test_edited_copies_fall_into_one_cluster_and_others_do_not() -> None:
    generator = random.Random(1)
    words = [f"word{i}" for i in range(3000)]
    texts = [" ".join(generator.choices(words, k=300)) for _ in range(20)]
    texts += [t.replace(t.split()[7], "edited", 1) for t in texts[:10]]
    hasher = MinHash(117, seed=1)
    labels = clusters([hasher.signature(shingles(normalise(t), "character", 13)) for t in texts], 9, 13)
    assert all(labels[i] == labels[20 + i] for i in range(10))
    assert len(set(labels)) == 20


def test_clusters_do_not_depend_on_order() -> None:
    generator = np.random.default_rng(0)
    signatures = [generator.integers(0, 3, size=8).astype(np.uint32) for _ in range(60)]
    order = generator.permutation(60)
    plain, shuffled = clusters(signatures, 4, 2), clusters([signatures[i] for i in order], 4, 2)
    groups = {frozenset(np.flatnonzero(plain == label)) for label in set(plain)}
    assert groups == {frozenset(order[i] for i in np.flatnonzero(shuffled == label)) for label in set(shuffled)}


def test_normalising_keeps_chinese_punctuation_and_words() -> None:
    assert normalise("  Hello,   World!\n你好，世界。") == "hello world 你好，世界。"
