"""Learn one run from preferences: a job's program, started as that of pre-training."""

from __future__ import annotations

from neo_assets.core.jobs import RunningJob
from training.loop import train
from training.objectives.pairs import Pairs
from training.telling import die_with_launcher


def main(job: RunningJob) -> None:
    die_with_launcher()
    train(job, Pairs.open)
