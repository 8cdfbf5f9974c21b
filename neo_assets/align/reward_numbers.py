"""How good a reward model is, from the rewards of pairs whose better answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neo_assets.core.intervals import Values, mean_interval


@dataclass(frozen=True)
class Accuracy:
    """Share of pairs whose better answer is put first, a tie as a half; with its 95 % interval."""

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Pairs that a model is about equally sure of: how sure on average, and how often it is right."""

    n: int
    sure: float
    right: float


def accuracy(margins: Values, prompts: Sequence[str]) -> Accuracy:
    """Of margins, better minus worse. The interval is a bootstrap's over prompts, since pairs of one prompt are alike.
    Raises ValueError of no pairs.
    """
    if not len(margins):
        raise ValueError("there is no pair")
    right = np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))
    _, of = np.unique(np.array(prompts), return_inverse=True)
    summed, count = np.bincount(of, right), np.bincount(of)
    return Accuracy(
        len(margins), float(right.mean()), *mean_interval(summed.astype(np.float64), count.astype(np.float64))
    )


def log_loss(margins: Values) -> float:
    """Nats a pair: what is lost by believing the model's probabilities; ln 2 is what a coin loses."""
    return float(np.logaddexp(0, -margins).mean())


def calibration(margins: Values, bins: int) -> list[Bin]:
    """Of as many pairs in each bin, the least sure first: the probability that the model gives the answer that it puts
    first, and how often that is the better one.
    """
    sure = 1 / (1 + np.exp(-np.abs(margins)))
    right = np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))
    order = np.argsort(sure, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(margins))) if len(part)]
    return [Bin(len(part), float(sure[part].mean()), float(right[part].mean())) for part in parts]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of how sure and how right, by pairs (expected calibration error, arXiv 1706.04599)."""
    return sum(b.n * abs(b.sure - b.right) for b in bins) / sum(b.n for b in bins)
