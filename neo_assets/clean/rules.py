"""From signals and thresholds to verdicts: one row per document, naming the first rule that it broke.

A rule is a field of the recipe's section: ``min_words`` keeps what has at least so many of the signal ``words``,
``max_words`` at most, ``below_sentences`` fewer, ``above_…`` more. Rules are tried in the order of the fields, and the
first broken one is recorded; all values are in ``signals``, so what another order or threshold would say can always be
asked (``neo whatif``). A signal that could not be measured (nan) breaks no rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neo_assets.core.recipe.base import Section
from neo_assets.core.steps import Decision

PREFIXES = ("min_", "max_", "below_", "above_")


@dataclass(frozen=True)
class Rule:
    """Keep a document whose ``signal`` is at least (min), at most (max), less (below) or more (above) than
    ``threshold``.
    """

    field: str
    threshold: float

    @property
    def signal(self) -> str:
        return self.field.split("_", 1)[1]

    def broken_by(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        if self.field.startswith("min_"):
            return values < self.threshold
        if self.field.startswith("above_"):
            return values <= self.threshold
        return values > self.threshold if self.field.startswith("max_") else values >= self.threshold


def rules(thresholds: Section) -> list[Rule]:
    """The rules of a recipe section that are switched on, in the order of its fields."""
    named = [(name, getattr(thresholds, name)) for name in type(thresholds).model_fields if name.startswith(PREFIXES)]
    return [Rule(name, float(value)) for name, value in named if value is not None]


def judge(signals: Mapping[str, npt.NDArray[np.float64]], chosen: Sequence[Rule], n: int) -> Decision:
    """The first broken rule of each of ``n`` documents, with the value measured and the threshold."""
    decision = Decision.keep(n)
    for rule in chosen:
        values = signals[rule.signal]
        broken = rule.broken_by(values) & ~decision.dropped
        decision.dropped |= broken
        decision.rule[broken] = rule.field
        decision.value[broken] = values[broken]
        decision.threshold[broken] = rule.threshold
    return decision
