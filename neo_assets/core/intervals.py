"""Intervals of means, by the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES, SEED = 10_000, 0
CELLS = 4_000_000
"""Random numbers held at once."""
Values = npt.NDArray[np.float64]


def mean_interval(sums: Values, sizes: Values) -> tuple[float, float]:
    """95 % interval of ``sums.sum() / sizes.sum()``: percentiles of a bootstrap over rows, each drawn whole."""
    from scipy.stats import bootstrap  # takes a second to import, and definitions load without it

    if len(sizes) < 2:  # of one row nothing else can be drawn
        return (float(sums[0] / sizes[0]),) * 2
    found = bootstrap(
        (sums, sizes),
        lambda d, s, axis: d.sum(axis) / s.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS // len(sizes)),
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
