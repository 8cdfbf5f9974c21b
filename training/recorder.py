"""The flight recorder: what it takes for a step to look wrong, and what is kept of it."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.recipe.run import OnTrouble

TROUBLE = "trouble"
"""Folder of a job that holds one file a troubled step."""


class Trouble(BaseModel):
    """A step that looks wrong."""

    model_config = ConfigDict(extra="forbid")

    step: int  # the state after it; its batch is that of step - 1, counted from 0
    kind: str  # not_a_number | loss_spike | gradient_jump
    value: float | str
    median: float | None
    stops: bool
    samples: list[int] = []  # of the data order
    documents: list[dict[str, object]] = []


class FlightRecorder:
    """Judges each step's loss and gradient norm. Every rank sees the same numbers and comes to the same verdict."""

    def __init__(self, policy: OnTrouble) -> None:
        self.policy = policy
        self.losses: deque[float] = deque(maxlen=policy.window)
        self.norms: deque[float] = deque(maxlen=policy.window)

    def judge(self, step: int, loss: float, grad_norm: float) -> Trouble | None:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return Trouble(
                step=step,
                kind="not_a_number",
                value=str(loss if not math.isfinite(loss) else grad_norm),
                median=None,
                stops=True,
            )
        found = self._spike(step, "loss_spike", loss, self.losses) or self._spike(
            step, "gradient_jump", grad_norm, self.norms
        )
        self.losses.append(loss)
        self.norms.append(grad_norm)
        return found

    def _spike(self, step: int, kind: str, value: float, recent: deque[float]) -> Trouble | None:
        if len(recent) < self.policy.window:
            return None
        usual = median(recent)
        return (
            Trouble(step=step, kind=kind, value=value, median=usual, stops=self.policy.spike == "stop")
            if value > self.policy.spike_factor * usual
            else None
        )


def keep(trouble: Trouble, job: Path) -> Path:
    """Write a troubled step beside its job."""
    file = job / TROUBLE / f"{trouble.step:07d}.json"
    file.parent.mkdir(exist_ok=True)
    records.write_text(file, json.dumps(trouble.model_dump(), ensure_ascii=False, indent=1))
    return file


def kept(job: Path) -> list[Trouble]:
    """Troubled steps of a job, in step order."""
    return [Trouble.model_validate_json(p.read_text(encoding="utf-8")) for p in sorted((job / TROUBLE).glob("*.json"))]
