"""How good a reward model is said to be: against numbers worked out by hand, and by many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neo_assets.align.reward_numbers import accuracy, calibration, calibration_error, log_loss


def test_a_tie_is_half_right_and_pairs_of_one_prompt_are_drawn_together() -> None:
    found = accuracy(np.array([1.0, -2.0, 0.0, 3.0]), ["a", "b", "c", "d"])
    assert found.n == 4 and found.value == 0.625 and found.low < 0.625 < found.high
    margins = np.array([1.0] * 50 + [-1.0] * 50)
    apart = accuracy(margins, [str(i) for i in range(100)])
    alike = accuracy(margins, [str(i // 10) for i in range(100)])  # ten prompts with ten pairs each
    assert alike.value == apart.value == 0.5
    assert alike.high - alike.low > 2.5 * (apart.high - apart.low)
    with pytest.raises(ValueError, match="no pair"):
        accuracy(np.array([]), [])


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator, held = np.random.default_rng(4), 0
    for _ in range(200):
        margins = np.where(generator.random(150) < 0.7, 1.0, -1.0)
        found = accuracy(margins, [str(i) for i in range(150)])
        held += found.low <= 0.7 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_who_is_as_sure_as_right_is_calibrated_and_who_shouts_is_not() -> None:
    generator = np.random.default_rng(5)
    truth = generator.normal(0, 1.5, 20_000)
    margins = np.abs(truth) * np.where(generator.random(20_000) < 1 / (1 + np.exp(-np.abs(truth))), 1, -1)
    calm, loud = (calibration(margins * scale, 10) for scale in (1, 5))
    assert [b.n for b in calm] == [2000] * 10 and calm[0].sure < calm[-1].sure
    assert calibration_error(calm) < 0.02 < 0.1 < calibration_error(loud)
    assert log_loss(margins) < math.log(2) < log_loss(margins * 5)
    assert log_loss(np.zeros(3)) == pytest.approx(math.log(2))
    assert [b.n for b in calibration(np.array([0.5, -0.2]), 10)] == [1, 1]
