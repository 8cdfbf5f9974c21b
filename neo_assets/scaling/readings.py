"""What a series of runs says: the loss of a model with N parameters after D tokens, read from its training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neo_assets.core import records
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact

NON_EMBEDDING, TOTAL = "non_embedding", "total"
COUNTS = (NON_EMBEDDING, TOTAL)
TEXTS = "bits per byte"
"""Table of a forecast and of its outcome: held-out text."""


@dataclass(frozen=True)
class Reading:
    """Loss of a run, nats a token, as the mean over the ``steps`` before it is read; ``error``: of that mean."""

    run: str
    non_embedding: int
    total: int
    tokens: int
    loss: float
    error: float
    steps: int

    def parameters(self, count: str) -> int:
        """N, counted one way or the other."""
        return self.total if count == TOTAL else self.non_embedding


def parameters_of(run: Run, rows: int) -> tuple[int, int]:
    """(without embeddings, with them) of a run's model, whose table has so many rows."""
    total = run.model.parameters(rows)
    return total - run.model.embedding_parameters(rows), total


def window_of(run: Run, over: float) -> int:
    """Steps that a reading is the mean of."""
    return max(2, round(over * run.steps))


def read_run(
    name: str, run: Run, rows: int, trained: Artifact, shares: Sequence[float], over: float, beyond: int = 0
) -> list[Reading]:
    """Readings of a finished run at shares of its steps. A step's loss is that of text which the model had not been
    trained on, as long as it is in its first round, so that its mean estimates the loss of new text.

    The error is the standard error of the mean: the spread of single steps about the line through them, over the root
    of their number.
    """
    table = records.read_table(trained.file("metrics.parquet"), columns=["step", "tokens", "loss"])
    steps = np.array(table.column("step").to_pylist(), float)
    tokens = np.array(table.column("tokens").to_pylist(), float)
    losses = np.array(table.column("loss").to_pylist(), float)
    window = window_of(run, over)
    without, total = parameters_of(run, rows)
    out = []
    for share in sorted(set(shares)):
        end = int(np.searchsorted(steps, round(share * run.steps), side="right"))
        if end < window:
            continue
        x, y = steps[end - window : end], losses[end - window : end]
        spread = y - np.polyval(np.polyfit(x, y, 1), x) if window > 2 else y - y.mean()
        error = float(np.sqrt(np.sum(spread**2) / max(1, window - 2) / window))
        # The mean is of a stretch of steps: it is the loss at their middle, not at their end.
        middle = float(tokens[end - window : end].mean())
        if middle >= beyond:
            out.append(Reading(name, without, total, round(middle), float(y.mean()), error, window))
    return out


def columns(readings: Sequence[Reading], count: str) -> tuple[list[float], list[float], list[float]]:
    """(N, D, loss) of readings, as laws are fitted to."""
    return (
        [float(r.parameters(count)) for r in readings],
        [float(r.tokens) for r in readings],
        [r.loss for r in readings],
    )


def read_series(
    series: Mapping[str, Run],
    rows: int,
    trained: Mapping[str, Artifact],
    shares: Sequence[float],
    over: float,
    beyond: int,
) -> list[Reading]:
    """Readings of all runs of a series that are there."""
    return [
        reading
        for name, run in series.items()
        for reading in read_run(name, run, rows, trained[f"pretraining/{name}"], shares, over, beyond)
    ]
