"""Two models on the same items: is the difference more than chance?

Pairing removes what makes an item hard for both, which is most of the variance: two checkpoints are told apart on far
fewer items than their standard errors suggest. Right-or-wrong items: McNemar's exact test on those that only one of
them got right. Anything else (bits per byte, F1): a permutation test that flips the sign of each item's difference.
Intervals: percentiles of a paired bootstrap. Several tasks at once are corrected by Holm's method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neo_assets.core.errors import BadInput
from neo_assets.core.intervals import CELLS, RESAMPLES, SEED, Values, mean_interval
from neo_assets.core.store import Row
from neo_assets.evaluate.rows import ScoreRow


@dataclass(frozen=True)
class Difference:
    """``b`` against ``a`` on the items both have: values, ``b - a`` with its 95 % interval, and the chance of such a
    difference between equals.
    """

    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    only_a: int | None
    only_b: int | None

    def worse(self, higher_is_better: bool) -> float:
        """By how much ``b`` is worse than ``a``; negative where it is better."""
        return -self.difference if higher_is_better else self.difference


def paired(a: Mapping[str, tuple[float, int]], b: Mapping[str, tuple[float, int]]) -> Difference:
    """Compare two models' items, (value, size) by id; items that only one of them has are left out.

    Raises:
        BadInput: no item in common, or one has another size for one of them (another text).
    """
    ids = sorted(a.keys() & b.keys())
    if not ids:
        raise BadInput("they have no item in common")
    if other := [i for i in ids if a[i][1] != b[i][1]]:
        raise BadInput(f"item {other[0]} is {a[other[0]][1]} long for one and {b[other[0]][1]} for the other")
    va, vb = (np.array([side[i][0] for i in ids], np.float64) for side in (a, b))
    size = np.array([a[i][1] for i in ids], np.float64)
    total = float(size.sum())
    binary = bool((size == 1).all() and np.isin(va, (0, 1)).all() and np.isin(vb, (0, 1)).all())
    only_a, only_b = int((va > vb).sum()), int((vb > va).sum())
    p = _mcnemar(only_a, only_b) if binary else _sign_flips(vb - va)
    low, high = mean_interval(vb - va, size)
    pair = (only_a, only_b) if binary else (None, None)
    return Difference(
        len(ids), float(va.sum()) / total, float(vb.sum()) / total, float((vb - va).sum()) / total, low, high, p, *pair
    )


def _mcnemar(only_a: int, only_b: int) -> float:
    from scipy.stats import binomtest  # takes a second to import, and definitions load without it

    return float(binomtest(only_b, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def _sign_flips(differences: Values) -> float:
    """Exact where there are no more than :data:`RESAMPLES` ways to flip; p below 0.0001 are not told apart."""
    from scipy.stats import permutation_test

    return float(
        permutation_test(
            (differences,),
            lambda d, axis: abs(d.sum(axis)),
            permutation_type="samples",
            alternative="greater",
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, CELLS // len(differences)),
            rng=np.random.default_rng(SEED),
        ).pvalue
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        out[i] = largest
    return out


def judged(pairs: Sequence[tuple[ScoreRow, Difference]], corrected: Sequence[float], alpha: float) -> list[Row]:
    """A row a task: both models, their difference, and what may be said of it at the corrected p."""
    rows: list[Row] = []
    for (scored, d), p in zip(pairs, corrected, strict=True):
        side = "worse" if d.worse(scored["higher_is_better"]) > 0 else "better"
        rows.append(
            {
                "task": scored["task"],
                "metric": scored["metric"],
                "A": d.a,
                "B": d.b,
                "B-A": d.difference,
                "from": d.low,
                "to": d.high,
                "p": p,
                "items": d.n,
                "only A": d.only_a,
                "only B": d.only_b,
                "verdict": "no difference found" if p >= alpha else f"B is {side}",
            }
        )
    return rows
