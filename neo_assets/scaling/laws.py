"""Laws of the loss L(N, D) of a model with N parameters after D tokens: four forms, one robust way to fit them.

Every law is linear in all but two of its constants, so that a grid over these two, with non-negative least squares for
the rest, finds where to begin; the best few beginnings are then refined together on the Huber loss between logarithms
(delta 1e-3, MAP-Neo section 8, as Chinchilla's). L-BFGS on the summed loss stops early: predictions off by 4 % without
any noise, the fault that was found in Chinchilla's own fit (arXiv 2404.10102). N and D are centred while fitting:
a constant that multiplies 1e9 to some power cannot be told from its exponent otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, nnls

Floats = npt.NDArray[np.float64]
DELTA = 1e-3
"""Huber's delta between log-losses (MAP-Neo section 8)."""
GRID = 24
"""Values of each exponent that fits begin from."""
BEGINNINGS = 5
EXPONENTS = (0.02, 2.0)
"""Exponents that are looked among; a law whose best lies at the border was not identified."""


@dataclass(frozen=True)
class Law:
    """A form of L(N, D). ``columns``: what the linear constants multiply, given n = N/N0, d = D/D0 and two exponents;
    ``lifted``: whether the sum is a loss to the power of 1/exponent (Kaplan's); ``told``: its constants, uncentred.
    """

    name: str
    formula: str
    source: str
    linear: tuple[str, ...]
    columns: Callable[[Floats, Floats, float, float], Floats]
    lifted: bool
    told: Callable[[Floats, float, float, float, float], dict[str, float]]

    def loss(self, constants: Floats, n: Floats, d: Floats) -> Floats:
        """Losses (k,) at centred n and d (k,); ``constants``: the linear ones, then the two exponents."""
        *linear, first, second = constants
        total: Floats = self.columns(n, d, first, second) @ np.array(linear)
        return np.asarray(np.maximum(total, 1e-300) ** second) if self.lifted else total


def _neo(n: Floats, d: Floats, a: float, b: float) -> Floats:
    return np.stack([n**-a, d**-b, np.ones_like(n), -np.log(d)], axis=-1)


def _chinchilla(n: Floats, d: Floats, a: float, b: float) -> Floats:
    return np.stack([n**-a, d**-b, np.ones_like(n)], axis=-1)


def _sms(n: Floats, d: Floats, a: float, b: float) -> Floats:
    return np.stack([n**-a * d**-b, n**-a, d**-b, np.ones_like(n)], axis=-1)


def _kaplan(n: Floats, d: Floats, a: float, b: float) -> Floats:
    return np.stack([n ** (-a / b), 1 / d], axis=-1)


def _tell_neo(c: Floats, a: float, b: float, n0: float, d0: float) -> dict[str, float]:
    return {"A": c[0] * n0**a, "B": c[1] * d0**b, "E": c[2] + c[3] * np.log(d0), "d": c[3], "alpha": a, "beta": b}


def _tell_chinchilla(c: Floats, a: float, b: float, n0: float, d0: float) -> dict[str, float]:
    return {"A": c[0] * n0**a, "B": c[1] * d0**b, "E": c[2], "alpha": a, "beta": b}


def _tell_sms(c: Floats, a: float, b: float, n0: float, d0: float) -> dict[str, float]:
    both = c[0] * n0**a * d0**b
    return {"d": both, "A": c[1] * n0**a, "B": c[2] * d0**b, "E": c[3], "alpha": a, "beta": b}


def _tell_kaplan(c: Floats, a: float, b: float, n0: float, d0: float) -> dict[str, float]:
    return {"N_c": n0 * c[0] ** (b / a), "D_c": d0 * c[1], "alpha_N": a, "alpha_D": b}


LAWS = {
    law.name: law
    for law in (
        Law(
            "neo",
            "A/N^alpha + B/D^beta + E - d·ln D",
            "MAP-Neo, section 8",
            ("A", "B", "E", "d"),
            _neo,
            False,
            _tell_neo,
        ),
        Law(
            "chinchilla",
            "A/N^alpha + B/D^beta + E",
            "arXiv 2203.15556",
            ("A", "B", "E"),
            _chinchilla,
            False,
            _tell_chinchilla,
        ),
        Law(
            "kaplan",
            "((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D",
            "arXiv 2001.08361, equation 1.5",
            ("N_c", "D_c"),
            _kaplan,
            True,
            _tell_kaplan,
        ),
        Law(
            "sms",
            "d/(N^alpha·D^beta) + A/N^alpha + B/D^beta + E",
            "MuPT, arXiv 2404.06393, without its term for repeated data",
            ("d", "A", "B", "E"),
            _sms,
            False,
            _tell_sms,
        ),
    )
}


@dataclass(frozen=True)
class Fit:
    """A law with constants. ``centred``: the linear ones, then both exponents, of n = N/n0 and d = D/d0."""

    law: Law
    centred: Floats
    n0: float
    d0: float

    @property
    def constants(self) -> dict[str, float]:
        """By name, of N and D as they are."""
        *linear, first, second = self.centred
        told = self.law.told(np.array(linear), float(first), float(second), self.n0, self.d0)
        return {name: float(value) for name, value in told.items()}

    @property
    def at_the_border(self) -> list[str]:
        """Exponents at the end of what is looked among: the points do not say what they are."""
        names = list(self.constants)[-2:]
        return [
            name
            for name, value in zip(names, self.centred[-2:], strict=True)
            if not EXPONENTS[0] * 1.01 < value < EXPONENTS[1] * 0.99
        ]

    @property
    def at_zero(self) -> list[str]:
        """Constants that are zero, the least they may be: the points would rather do without them."""
        return [name for name, value in zip(self.law.linear, self.centred[:-2], strict=True) if value < 1e-9]

    def predict(self, parameters: npt.ArrayLike, tokens: npt.ArrayLike) -> Floats:
        """Losses at N and D, broadcast against each other."""
        n, d = np.broadcast_arrays(np.asarray(parameters, float) / self.n0, np.asarray(tokens, float) / self.d0)
        return self.law.loss(self.centred, n.astype(float), d.astype(float))


def fit(
    law: Law,
    parameters: Sequence[float],
    tokens: Sequence[float],
    losses: Sequence[float],
    near: Fit | None = None,
) -> Fit:
    """The constants of a law by these points, (k,) each. ``near``: a fit of almost the same points, which is refined
    instead of looking everywhere.

    Raises:
        ValueError: fewer points than the law has constants, only one N or one D, or a number that is not positive and
            finite.
    """
    many, long, seen = (np.asarray(x, float) for x in (parameters, tokens, losses))
    wanted = len(law.linear) + 2
    if len(seen) < wanted:
        raise ValueError(f"{law.name} has {wanted} constants; {len(seen)} points do not say what they are")
    if not all(np.all(np.isfinite(x) & (x > 0)) for x in (many, long, seen)):
        raise ValueError("parameters, tokens and losses must be positive and finite")
    if len(set(many)) < 2 or len(set(long)) < 2:
        raise ValueError("all points have the same N, or the same D: neither can be told from the constants")
    n0, d0 = float(np.exp(np.mean(np.log(many)))), float(np.exp(np.mean(np.log(long))))
    if near is not None:
        n0, d0 = near.n0, near.d0
    n, d, logs = many / n0, long / d0, np.log(seen)
    beginnings = (
        [near.centred]
        if near is not None
        else [start for _, start in sorted(_beginnings(law, n, d, seen), key=lambda pair: pair[0])[:BEGINNINGS]]
    )

    def residuals(constants: Floats) -> Floats:
        return np.asarray(np.log(np.maximum(law.loss(constants, n, d), 1e-12)) - logs)

    low = np.array([0.0] * len(law.linear) + [EXPONENTS[0]] * 2)
    high = np.array([np.inf] * len(law.linear) + [EXPONENTS[1]] * 2)
    refined = [
        least_squares(
            residuals, np.clip(start, low, high), bounds=(low, high), loss="huber", f_scale=DELTA, x_scale="jac",
            xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=2000,
        )
        for start in beginnings
    ]  # fmt: skip
    return Fit(law, np.array(min(refined, key=lambda r: float(r.cost)).x), n0, d0)


def _beginnings(law: Law, n: Floats, d: Floats, seen: Floats) -> list[tuple[float, Floats]]:
    """(Huber loss, constants) for every pair of exponents, with the best non-negative linear constants there."""
    exponents = np.geomspace(*EXPONENTS, GRID)
    out = []
    for first in exponents:
        for second in exponents:
            wanted = seen ** (1 / second) if law.lifted else seen
            columns = law.columns(n, d, first, second)
            if not (np.all(np.isfinite(columns)) and np.all(np.isfinite(wanted))):
                continue
            # Errors of logarithms: those of the values, divided by them.
            linear, _ = nnls(columns / wanted[:, None], np.ones_like(wanted))
            constants = np.array([*linear, first, second])
            error = np.log(np.maximum(law.loss(constants, n, d), 1e-12)) - np.log(seen)
            out.append((huber(error), constants))
    return out


def huber(errors: Floats) -> float:
    """Mean Huber loss (delta 1e-3) of errors between log-losses."""
    small = np.abs(errors) <= DELTA
    return float(np.mean(np.where(small, 0.5 * errors**2, DELTA * (np.abs(errors) - 0.5 * DELTA))))


def quality(fitted: Fit, parameters: npt.ArrayLike, tokens: npt.ArrayLike, losses: npt.ArrayLike) -> dict[str, float]:
    """Huber loss between log-losses, R² of the loss, and the largest error as a share of the loss, on these points."""
    seen = np.asarray(losses, float)
    told = fitted.predict(parameters, tokens)
    spread = float(np.sum((seen - seen.mean()) ** 2))
    r2 = 1 - float(np.sum((seen - told) ** 2)) / spread if spread else float("nan")
    largest = float(np.max(np.abs(told / seen - 1)))
    return {"huber": huber(np.log(told) - np.log(seen)), "r2": r2, "largest_error": largest}


def intervals(
    whole: Fit,
    points: tuple[Sequence[float], Sequence[float], Sequence[float]],
    at: Sequence[tuple[float, float]],
    rounds: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """For each (N, D) an interval of what ``whole``, the fit of these points, predicts: quantiles over fits of as many
    points, drawn again with replacement within each model, since points of one curve share what went wrong in it. Each
    begins from ``whole``. Rounds that cannot be fitted are drawn once more.
    """
    generator = np.random.default_rng(seed)
    many, long, seen = (np.asarray(x, float) for x in points)
    groups = [np.flatnonzero(many == n) for n in dict.fromkeys(many)]
    drawn: list[Floats] = []
    for _ in range(3 * rounds):
        if len(drawn) == rounds:
            break
        chosen = np.concatenate([generator.choice(group, len(group)) for group in groups])
        try:
            fitted = fit(whole.law, list(many[chosen]), list(long[chosen]), list(seen[chosen]), near=whole)
        except ValueError:
            continue
        drawn.append(fitted.predict([n for n, _ in at], [d for _, d in at]))
    if len(drawn) < rounds:
        raise ValueError(f"{whole.law.name}: too few points to draw them again")
    low, high = np.quantile(np.stack(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def best_for(fitted: Fit, flops: float, points: int = 400) -> Mapping[str, float]:
    """N and D with the least predicted loss at a budget of 6·N·D floating-point operations, looked for within a factor
    of a thousand of the centre of what was fitted.
    """
    n = fitted.n0 * np.geomspace(1e-3, 1e3, points)
    d = flops / (6 * n)
    told = fitted.predict(n, d)
    at = int(np.argmin(told))
    return {"parameters": float(n[at]), "tokens": float(d[at]), "loss": float(told[at])}
