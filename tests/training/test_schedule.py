"""The learning rate of every step, against the formula of MAP-Neo section 4.2."""

import math

import pytest

from neo_assets.core.recipe import load
from neo_assets.core.recipe.model import CosineSchedule
from training.schedule import LearningRate


def test_the_papers_schedule() -> None:
    rate = LearningRate(load("neo-7b").runs["main"].schedule).rate
    assert rate(1999) == pytest.approx(2e-4)
    assert rate(0) == pytest.approx(2e-5 + 1.8e-4 / 2000)
    middle = (2000 + 367000) // 2
    assert rate(middle) == pytest.approx(2e-5 + 0.5 * 1.8e-4 * (1 + math.cos(math.pi * (middle - 2000) / 365000)))
    assert rate(367000) == pytest.approx(2e-5)
    assert rate(444212) == pytest.approx(2e-5)  # the run is longer than the schedule


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    schedule = CosineSchedule(kind="cosine", peak_lr=1e-3, min_lr=1e-4, warmup_start_lr=0, warmup_steps=0, decay_steps=10)
    assert LearningRate(schedule).rate(0) == pytest.approx(1e-3)
