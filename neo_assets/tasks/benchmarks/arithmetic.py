"""Sums made here, with an exact answer: what a small model learns first of mathematics, and no text can give away."""

from __future__ import annotations

import random

from neo_assets.core.recipe.evaluation import Arithmetic
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, written
from training.tasks import Task

_SHOTS_APART = 1_000_003
LONGEST_ANSWER = 16
"""Tokens; single digits and a sign."""


def build(name: str, benchmark: Arithmetic, out: Workspace) -> Built:
    """Distinct sums, evenly over the operators; solved examples before each are drawn from other sums of the same
    kinds.
    """
    rng = random.Random(benchmark.seed)
    seen: set[str] = set()
    lines: list[tuple[str, int]] = []
    while len(lines) < benchmark.items:
        sign = benchmark.operators[len(lines) % len(benchmark.operators)]
        question, answer = _sum(rng, sign, benchmark.digits)
        if question in seen and len(seen) < 10 ** (2 * benchmark.digits) * len(benchmark.operators) // 4:
            continue
        seen.add(question)
        lines.append((question, answer))
    shown = random.Random(benchmark.seed + _SHOTS_APART)
    items = []
    for number, (question, answer) in enumerate(lines):
        examples: list[str] = []
        while len(examples) < benchmark.shots:
            example = _sum(shown, benchmark.operators[len(examples) % len(benchmark.operators)], benchmark.digits)
            if example[0] != question:
                examples.append(f"{example[0]} {example[1]}\n")
        items.append({"id": f"{name}-{number}", "prompt": "".join(examples) + question, "target": str(answer)})
    task = Task(
        **written(name, benchmark, items, out),
        kind="generate",
        chance=0.0,
        metric="exact_match",
        shots=benchmark.shots,
        stop=("\n",),
        max_tokens=LONGEST_ANSWER,
        description=(
            f"{', '.join(benchmark.operators)} on numbers of up to {benchmark.digits} digits after {benchmark.shots}"
            " solved examples; the first line written must be the answer."
        ),
    )
    return Built(task)


def _sum(rng: random.Random, sign: str, digits: int) -> tuple[str, int]:
    a, b = (rng.randrange(10 ** rng.randint(1, digits)) for _ in range(2))
    return f"{a} {sign} {b} =", a + b if sign == "+" else a - b if sign == "-" else a * b
