"""Learning rate: a pure function of the step, so that nothing about it is saved and a resumed run cannot follow another
curve.
"""

from __future__ import annotations

import math

from neo_assets.core.recipe.run import ConstantSchedule, ExponentialSchedule, Schedule


def learning_rate(schedule: Schedule, step: int) -> float:
    """Rate of the update that leads from ``step`` to ``step + 1`` (MAP-Neo, section 6: warm-up and cosine; exponential
    decay).

    The first step has ``warmup_start_lr`` (or the peak, without a warm-up), step ``warmup_steps`` has the peak.
    """
    if step < schedule.warmup_steps:
        return schedule.warmup_start_lr + (schedule.peak_lr - schedule.warmup_start_lr) * step / schedule.warmup_steps
    if isinstance(schedule, ConstantSchedule):
        return schedule.peak_lr
    since = step - schedule.warmup_steps
    if isinstance(schedule, ExponentialSchedule):
        return max(schedule.min_lr, schedule.peak_lr * math.exp2(-since / schedule.half_life_steps))
    done = min(1.0, since / max(1, schedule.decay_steps - schedule.warmup_steps))
    return schedule.min_lr + 0.5 * (schedule.peak_lr - schedule.min_lr) * (1 + math.cos(math.pi * done))
