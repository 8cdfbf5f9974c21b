"""Train a reward model of one run: a job's program, started by torchrun, or one process a rank under Slurm."""

from __future__ import annotations

from neo_assets.core.jobs import RunningJob
from training.loop import train
from training.objectives.rewards import Rewards
from training.telling import die_with_launcher


def main(job: RunningJob) -> None:
    die_with_launcher()
    train(job, Rewards.open)
