"""Inputs of the training programs, typed; importable without torch, so that the asset layer can fill them in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from neo_assets.core.recipe.model import Run


class PretrainConfig(BaseModel):
    """What ``training.pretrain`` needs besides its token shards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_name: str
    run_fingerprint: str
    run: Run
    vocab_rows: int
    checkpoints: str  # folder that takes one folder per checkpoint


def checkpoint_name(step: int, run_fingerprint: str) -> str:
    """Partition key and folder name of a checkpoint: zero-padded, so that names sort as steps do."""
    return f"{step:07d}-{run_fingerprint[:8]}"
