"""What training jobs make: ``pretraining/main``, ``sft/chat``. Each is one run's, and no two runs of a recipe have the
same name, whatever they learn.
"""

from __future__ import annotations

from typing import Literal

Learning = Literal["pretraining", "sft", "reward", "dpo"]
"""What a run learns: to go on with text, to answer in conversations, how well an answer is liked, or to answer as it is
liked better.
"""
PROGRAMS: dict[Learning, str] = {
    "pretraining": "training.pretrain",
    "sft": "training.sft",
    "reward": "training.reward",
    "dpo": "training.dpo",
}
"""The program of each one's job."""
STREAMS: dict[Learning, str] = {
    "pretraining": "token_shards",
    "sft": "conversation_shards",
    "reward": "pair_shards",
    "dpo": "pair_shards",
}
"""What each reads, by its phase."""


def trained_run(name: str) -> str | None:
    """The run whose training makes an artifact: 'main' of 'pretraining/main'; None of what no training makes."""
    kind, _, run = name.partition("/")
    return run if kind in PROGRAMS and run else None


def names_of(run: str) -> list[str]:
    """What the artifact of a run of this name can be called, where its recipe is not known."""
    return [f"{kind}/{run}" for kind in PROGRAMS]
