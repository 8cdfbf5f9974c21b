"""A difference is called one when it is, and only then."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from neo_assets.core.errors import BadInput
from neo_assets.scores.paired import holm, paired


def answers(right: list[bool]) -> dict[str, tuple[float, int]]:
    return {f"i{n}": (float(r), 1) for n, r in enumerate(right)}


def test_right_and_wrong_answers_are_compared_by_those_that_only_one_got_right() -> None:
    a = answers([True] * 50 + [True] * 4 + [False] * 16 + [False] * 30)
    b = answers([True] * 50 + [False] * 4 + [True] * 16 + [False] * 30)
    d = paired(a, b)
    assert (d.n, d.a, d.b, d.only_a, d.only_b) == (100, 0.54, 0.66, 4, 16)
    assert d.difference == pytest.approx(0.12) and d.low < 0.12 < d.high
    assert d.p == pytest.approx(2 * binom.cdf(4, 20, 0.5))  # McNemar's exact test by its definition
    assert d.worse(higher_is_better=True) < 0 < d.worse(higher_is_better=False)


def test_a_model_against_itself_is_no_difference() -> None:
    a = answers([True, False] * 20)
    d = paired(a, a)
    assert (d.difference, d.low, d.high, d.p) == (0, 0, 0, 1)


def test_texts_are_compared_as_sums_over_sums() -> None:
    a = {"x": (100.0, 50), "y": (30.0, 10)}
    b = {"x": (90.0, 50), "y": (33.0, 10)}
    d = paired(a, b)
    assert (d.a, d.b, d.only_a) == (130 / 60, 123 / 60, None)
    assert d.difference == pytest.approx(-7 / 60)
    with pytest.raises(BadInput, match="item x is 50 long for one and 51"):
        paired(a, {"x": (90.0, 51)})


def test_equals_are_called_different_as_rarely_as_asked_and_unequals_are_found() -> None:
    rng = np.random.default_rng(5)
    false, found = 0, 0
    for _ in range(60):
        hard = rng.normal(2, 1, 120)
        a, same, worse = (
            {f"d{i}": (float(v), 100) for i, v in enumerate(values)}
            for values in (hard, hard + rng.normal(0, 0.1, 120), hard + rng.normal(0.05, 0.1, 120))
        )
        false += paired(a, same).p < 0.05
        found += paired(a, worse).p < 0.05
    assert false <= 9  # 3 expected; more than 9 of 60 has a chance of 0.1 %
    assert found >= 55  # the difference is a twentieth of the spread over documents, which pairing takes out


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(80):
        a, b = rng.random(150) < 0.4, rng.random(150) < 0.55
        d = paired(answers(a.tolist()), answers(b.tolist()))
        covered += d.low <= 0.15 <= d.high
    assert covered >= 69  # 76 expected of 80


def test_only_items_that_both_have_are_compared() -> None:
    a, b = answers([True, False, True]), answers([True, True])
    assert paired(a, b).n == 2
    with pytest.raises(BadInput, match="no item in common"):
        paired(a, {"other": (1.0, 1)})


def test_several_tasks_are_corrected_for_as_holm_does() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert all(p <= 1 for p in holm([0.9, 0.8]))
    assert math.isclose(holm([0.02])[0], 0.02)
