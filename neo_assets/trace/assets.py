"""The trace room: `trace_index`, in which what a model writes is looked for; `traced_samples`, what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Outcome, Workspace
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.declare import AttendedStage, Making
from neo_assets.trace.index import KEY, TraceInput, index_pool
from neo_assets.trace.samples import TracedSamplesInput, trace_samples
from neo_assets.trace.written import SAMPLES

WHOLE_POOL = Claim("whole_pool", "Every document of the training pool can be found by any of its passages.")


@dataclass(frozen=True)
class TracedSamples(AttendedStage[TracedSamplesInput]):
    """Looks for what checkpoints wrote."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        return trace_samples(self.config, at.inputs, out, store=at.store)


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    if recipe.trace is None:
        return
    config = TraceInput(shard_mb=recipe.trace.shard_mb)
    yield Stage(KEY, index_pool, config, reads=["train_pool"], kinds=["arrow"], claims=[WHOLE_POOL])
    yield TracedSamples(
        SAMPLES,
        trace_samples,
        TracedSamplesInput(settings=recipe.trace),
        reads=[KEY, WITHDRAWN, *(f"evaluation/{run}" for run in recipe.writing)],
        parts={WITHDRAWN: "trace"},
        kinds=["json"],
    )
