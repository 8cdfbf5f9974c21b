"""The learning rate of every step, against the formulas of MAP-Neo section 4.2."""

import math

import pytest

from neo_assets.core.recipe import load
from neo_assets.core.recipe.run import ConstantSchedule, CosineSchedule, ExponentialSchedule
from training.schedule import learning_rate


def papers(step: int, start: float) -> float:
    if step < 2000:
        return start + (2e-4 - start) * step / 2000
    if step <= 367_000:
        return 2e-5 + 0.5 * (2e-4 - 2e-5) * (1 + math.cos(math.pi * (step - 2000) / (367_000 - 2000)))
    return 2e-5


@pytest.mark.parametrize(("recipe", "start"), [("neo-7b", 2e-5), ("neo-7b-released", 0.0), ("neo-2b", 2e-5)])
def test_the_fundamental_phase_is_the_papers(recipe: str, start: float) -> None:
    run = load(recipe).runs["main"]
    for step in (0, 1, 1999, 2000, 2001, 184_500, 366_999, 367_000, 444_212):
        assert learning_rate(run.schedule, step) == pytest.approx(papers(step, start), rel=1e-12)
    assert run.steps == 444_213  # the run is longer than its schedule: two numbers


def test_the_decay_phase_is_the_papers() -> None:
    run = load("neo-7b").runs["decay"]
    for step in (0, 1, 74_000, 147_999):
        assert learning_rate(run.schedule, step) == pytest.approx(2e-4 * 0.5 ** (step / 74_000), rel=1e-12)
    assert learning_rate(run.schedule, 148_000) == pytest.approx(5e-5)  # the floor of 2e-5 is never reached
    released = load("neo-7b-released").runs["decay"]
    assert released.schedule.half_life_steps == 0.5 * released.steps + 1
    assert (run.global_batch, released.global_batch) == (640, 1024)


def test_an_exponential_stops_at_its_floor() -> None:
    schedule = ExponentialSchedule(kind="exponential", peak_lr=8e-3, min_lr=1e-3, half_life_steps=10)
    assert [learning_rate(schedule, s) for s in (0, 10, 20, 30, 40)] == pytest.approx([8e-3, 4e-3, 2e-3, 1e-3, 1e-3])


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    schedule = CosineSchedule(
        kind="cosine", peak_lr=1e-3, min_lr=1e-4, warmup_start_lr=0, warmup_steps=0, decay_steps=10
    )
    assert learning_rate(schedule, 0) == pytest.approx(1e-3)


def test_a_floor_above_the_peak_is_refused() -> None:
    with pytest.raises(ValueError, match="is above peak_lr"):
        CosineSchedule(kind="cosine", peak_lr=1e-4, min_lr=1e-3, decay_steps=10)


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    schedule = ConstantSchedule(kind="constant", peak_lr=4e-3, min_lr=0, warmup_start_lr=0, warmup_steps=4)
    assert [learning_rate(schedule, step) for step in (0, 1, 4, 5, 10**6)] == [0, 1e-3, 4e-3, 4e-3, 4e-3]
