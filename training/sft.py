"""Fine-tune one run on conversations: a job's program, started as that of pre-training."""

from __future__ import annotations

from neo_assets.core.jobs import RunningJob
from training.loop import train
from training.objectives.answers import Answers
from training.telling import die_with_launcher


def main(job: RunningJob) -> None:
    die_with_launcher()
    train(job, Answers.open)
