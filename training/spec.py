"""Inputs of the training programs, typed; importable without torch, so that the asset layer can fill them in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from neo_assets.core.recipe.align import DpoLoss, RewardLoss
from neo_assets.core.recipe.run import Run


class Start(BaseModel):
    """The checkpoint, or the model folder of somebody else's, that a run starts from, found and named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str  # relative to the store where it is in it
    digest: str  # of the checkpoint, as its manifest has it; of a model folder's content
    step: int
    next_sample: int  # of the data order; counts only where everything is taken over
    take: Literal["weights", "everything"]
    foreign: bool = False  # a Hugging Face folder

    def at(self, root: Path) -> Start:
        """With its folder as it is where the store lies at ``root``."""
        return self.model_copy(update={"folder": str(root / self.folder)})


class PretrainConfig(BaseModel):
    """What ``training.pretrain`` needs besides its token shards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_name: str
    run_fingerprint: str
    run: Run
    vocab_rows: int
    start: Start | None = None
    preference: DpoLoss | None = None  # how preferences are learnt, where they are
    reward: RewardLoss | None = None  # how a reward model is trained, where it is one
    stop_at: int | None = None  # end early, for a proof
    whole: list[int] | None = None  # steps whose checkpoints stay whole, besides the newest; None: all

    def at(self, root: Path) -> PretrainConfig:
        """With what it starts from as it is where the store lies at ``root``."""
        return self.model_copy(update={"start": self.start and self.start.at(root)})

    @property
    def counts(self) -> str:
        """What a run learns from, and its speed is told in: tokens; or pairs, of which a loss is one number each."""
        return "pairs" if self.preference or self.reward else "tokens"

    @property
    def first_step(self) -> int:
        return self.start.step if self.start and self.start.take == "everything" else 0

    @property
    def start_sample(self) -> int:
        return self.start.next_sample if self.start and self.start.take == "everything" else 0

    @property
    def last_step(self) -> int:
        return self.run.steps if self.stop_at is None else self.stop_at


def checkpoint_name(step: int, run_fingerprint: str) -> str:
    """Partition key and folder name of a checkpoint: zero-padded, so that names sort as steps do."""
    return f"{step:07d}-{run_fingerprint[:8]}"
