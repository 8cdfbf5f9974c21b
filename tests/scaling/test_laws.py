"""Laws of scaling are recovered exactly without noise, and predict within 2 % with half a percent of it."""

from __future__ import annotations

import numpy as np
import pytest

from neo_assets.scaling.laws import LAWS, best_for, fit, huber, intervals, quality

TRUE = {
    "neo": {"A": 400.0, "B": 900.0, "E": 1.9, "d": 0.015, "alpha": 0.34, "beta": 0.31},
    "chinchilla": {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28},
    "kaplan": {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095},
    "sms": {"d": 3000.0, "A": 300.0, "B": 500.0, "E": 1.5, "alpha": 0.31, "beta": 0.29},
}
SIZES, TOKENS = [2.5e8, 4.6e8, 9.8e8, 2e9], list(np.geomspace(1.7e10, 1e12, 12))
N = [n for n in SIZES for _ in TOKENS]
D = [d for _ in SIZES for d in TOKENS]
FAR = (7.8e9, 3.07e12)


def loss(name: str, n: float, d: float) -> float:
    """By the formula, written out here once more."""
    c = TRUE[name]
    if name == "neo":
        return float(c["A"] / n ** c["alpha"] + c["B"] / d ** c["beta"] + c["E"] - c["d"] * np.log(d))
    if name == "chinchilla":
        return float(c["A"] / n ** c["alpha"] + c["B"] / d ** c["beta"] + c["E"])
    if name == "kaplan":
        return float(((c["N_c"] / n) ** (c["alpha_N"] / c["alpha_D"]) + c["D_c"] / d) ** c["alpha_D"])
    both = c["d"] / (n ** c["alpha"] * d ** c["beta"])
    return float(both + c["A"] / n ** c["alpha"] + c["B"] / d ** c["beta"] + c["E"])


def points(name: str, noise: float = 0.0, seed: int = 0) -> list[float]:
    generator = np.random.default_rng(seed)
    return [loss(name, n, d) * float(np.exp(noise * generator.standard_normal())) for n, d in zip(N, D, strict=True)]


@pytest.mark.parametrize("name", list(LAWS))
def test_without_noise_the_constants_come_back(name: str) -> None:
    found = fit(LAWS[name], N, D, points(name))
    assert quality(found, N, D, points(name))["largest_error"] < 1e-6
    assert found.predict(*FAR) == pytest.approx(loss(name, *FAR), rel=1e-4)
    if name in ("chinchilla", "kaplan"):  # neo's d·ln D and B/D^beta, and sms's two terms in D, trade off
        assert found.constants == pytest.approx(TRUE[name], rel=1e-2)
    assert list(found.constants) == list(TRUE[name]) and not found.at_the_border


@pytest.mark.parametrize("name", list(LAWS))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_noise_what_is_predicted_holds_though_constants_do_not(name: str, seed: int) -> None:
    found = fit(LAWS[name], N, D, points(name, 0.005, seed))
    assert found.predict(*FAR) == pytest.approx(loss(name, *FAR), rel=0.02)


def test_one_wild_point_in_twelve_does_not_move_the_fit() -> None:
    seen = points("chinchilla")
    seen[5] *= 1.5
    assert fit(LAWS["chinchilla"], N, D, seen).predict(*FAR) == pytest.approx(loss("chinchilla", *FAR), rel=0.005)


def test_an_interval_holds_what_is_true_and_grows_with_the_distance() -> None:
    near = (SIZES[1], TOKENS[5])
    seen = points("chinchilla", 0.005, 4)
    (low, high), (low_far, high_far) = intervals(
        fit(LAWS["chinchilla"], N, D, seen), (N, D, seen), [near, FAR], rounds=40
    )
    assert low < loss("chinchilla", *near) < high and low_far < loss("chinchilla", *FAR) < high_far
    assert high - low < high_far - low_far


def test_what_the_points_do_not_say_is_told() -> None:
    """Losses that do not depend on N at all."""
    flat = [2 + 300 / d**0.3 for d in D]
    found = fit(LAWS["chinchilla"], N, D, flat)
    assert found.predict(FAR[0], TOKENS[-1]) == pytest.approx(flat[len(TOKENS) - 1], rel=1e-3)


def test_the_best_size_for_a_budget_is_where_the_formula_has_it() -> None:
    """Chinchilla's closed form: N = G (C/6)^(beta/(alpha+beta)), G = (alpha A / beta B)^(1/(alpha+beta))."""
    law, c = LAWS["chinchilla"], TRUE["chinchilla"]
    found = fit(law, N, D, points("chinchilla"))
    g = (c["alpha"] * c["A"] / (c["beta"] * c["B"])) ** (1 / (c["alpha"] + c["beta"]))
    budget = 1e21
    best = g * (budget / 6) ** (c["beta"] / (c["alpha"] + c["beta"]))
    assert best_for(found, budget, 4000)["parameters"] == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize(
    ("n", "d", "seen", "said"),
    [
        (N[:4], D[:4], [3.0] * 4, "5 constants; 4 points"),
        (N, D, [float("nan"), *points("chinchilla")[1:]], "positive and finite"),
        ([1e9] * 12, TOKENS, [3.0] * 12, "the same N"),
    ],
)
def test_points_that_cannot_be_fitted_are_refused(n: list[float], d: list[float], seen: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(LAWS["chinchilla"], n, d, seen)


def test_hubers_loss_is_square_near_and_straight_far() -> None:
    assert huber(np.array([5e-4])) == pytest.approx(0.5 * 25e-8)
    assert huber(np.array([1.0])) == pytest.approx(1e-3 * (1 - 5e-4))
