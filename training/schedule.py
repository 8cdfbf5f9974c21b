"""Learning rate as a function of the step.

A callable object rather than a closure: torch's LambdaLR then stores its numbers in the checkpoint, so a resumed run cannot
silently follow another curve.
"""

from __future__ import annotations

import math

from neo_assets.core.recipe.model import CosineSchedule


class LearningRate:
    """Factor on the peak rate for step ``t``, counted from 0."""

    def __init__(self, schedule: CosineSchedule) -> None:
        self.peak = schedule.peak_lr
        self.floor = schedule.min_lr / schedule.peak_lr
        self.start = schedule.warmup_start_lr / schedule.peak_lr
        self.warmup = schedule.warmup_steps
        self.decay = schedule.decay_steps

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.start + (1 - self.start) * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.decay - self.warmup))
        return self.floor + 0.5 * (1 - self.floor) * (1 + math.cos(math.pi * done))

    def rate(self, step: int) -> float:
        """Learning rate of step ``step``."""
        return self.peak * self(step)
