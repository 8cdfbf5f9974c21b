"""What has to be trained again after a withdrawal, written down as branches of the runs that it reaches.

Data order outlives a withdrawal (``tokenizer/stream.py``), so that a checkpoint from before the first step that read
what was withdrawn is a checkpoint of the run without it: the run goes on from there, over the stream that has nothing
of it. What began with another run's weights begins again when that run is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store
from neo_assets.core.tombstones import Tombstone, in_force, read_tombstones
from neo_assets.runs.branch import branch_entry, forget_branch, record_branch
from neo_assets.runs.found_runs import run_of
from neo_assets.takedown.reached import OfRun, documents_of, runs_reached


@dataclass(frozen=True)
class Again:
    """A run that has to be trained again, and what of it is kept: ``begins`` is the step of a checkpoint that it goes
    on from, of the run with this fingerprint; None where it begins anew.
    """

    run: str
    fingerprint: str
    begins: int | None
    steps: int
    hours: float | None
    because: str


def plan(store: Store, recipe: Recipe) -> tuple[list[Tombstone], list[Again]]:
    """Tombstones in force for the corpus, and runs of this build that learnt from what they name."""
    stones = in_force(read_tombstones(store.root), "corpus")
    _, held = documents_of(store, recipe, [stone.target for stone in stones]) if stones else (set(), [])
    ids = sorted({one.doc_id for one in held if one.side == "train_pool"})
    return stones, [_again(run) for run in runs_reached(store, recipe, ids) if run.first is not None or run.through]


def _again(run: OfRun) -> Again:
    begins = None if run.through or not run.again_from else run.again_from
    reads = f"{run.steps:,} of its steps read it, the first is {run.first:,}" if run.first is not None else ""
    because = f"started from {run.through}" if run.through else reads
    return Again(run.run, run.again_of, begins, run.again_steps, run.hours, because)


def write_branches(
    store: Store, recipe: Recipe, again: Sequence[Again], why: str, file: Path, load: Callable[[], object]
) -> list[str]:
    """Write down that these runs go on from their old checkpoints, or begin anew; what was written, a line a run."""
    lines = []
    for one in again:
        if one.begins is None:
            if forget_branch(file, one.run, load):
                lines.append(f"{one.run}: a branch that was recorded of it is taken out; it begins anew")
            continue
        entry = branch_entry(run_of(store, one.run, one.fingerprint), one.begins, {}, None, why)
        written = record_branch(file, one.run, entry, None, load)
        lines.append(f"{one.run}: goes on from step {one.begins:,} of {one.fingerprint[:12]}, recorded in {written}")
    return lines
