"""A run as assets: `run_plan/‹run›`, its training (`pretraining/‹run›`, `sft/‹run›`) and `checkpoint/‹run›`; told by
the rooms whose runs they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import DpoLoss, RewardLoss
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.stage import Claim, Stage
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.core.trainings import PROGRAMS
from neo_assets.declare import AttendedStage, Making
from neo_assets.runs.asked import note_asked
from neo_assets.runs.job import PretrainInput, checkpoint_folders, from_scratch, pretrain
from neo_assets.runs.partitions import Announcer
from neo_assets.runs.plan import PlanInput, plan_run
from training.foreign import content_digest

POOL = "training"
FORECAST = "sealed_forecast"
"""What is foretold of a run before its first step; made in the scaling room."""
PARAMETERS_AGREE = Claim(
    "parameters_agree", "The formula that plans and the model that trains have the same number of parameters."
)
ONE_SEQUENCE = Claim("one_sequence_at_least", "The stream is longer than one training sequence.")
LOSS_FINITE = Claim("loss_finite", "No step's loss was infinite or not a number.")
LOSS_FALLS = Claim(
    "loss_falls",
    "The loss is lower over the last tenth of the steps than over the first (a warning where the run did not start from"
    " scratch).",
)
EVERY_STEP_RECORDED = Claim("every_step_recorded", "Each step has its row in the metrics.")


@dataclass(frozen=True)
class TrainingJob(AttendedStage[PretrainInput]):
    """`pretraining/‹run›`, `sft/‹run›`: followed while it runs; its checkpoints are announced as they are saved."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        announcer = Announcer.of(at.context, at.store, self.config.name)
        return pretrain(
            self.config,
            at.inputs,
            out,
            recipe=at.recipe.name,
            made_from=self.made_from(at.inputs),
            store=at.store,
            jobs=at.compute,
            report=announcer.handle,
            forecast=_forecast(at, self.config.name),
        )

    def made(self, at: Making, artifact: Artifact) -> None:
        run = self.config.name
        note_asked(at.store, at.recipe.name, run, artifact.fingerprint)
        announcer = Announcer.of(at.context, at.store, run)
        for folder in checkpoint_folders(at.store, run, self.config.run, artifact.fingerprint):
            announcer.announce(folder.name)


def _forecast(at: Making, run: str) -> Artifact | None:
    """What is foretold of a run, if it is the one that the recipe has a forecast of, and there is one yet."""
    if at.recipe.scaling is None or at.recipe.scaling.target != run:
        return None
    pointer = at.store.head_pointer(at.recipe.name, FORECAST)
    return at.store.find(*pointer) if pointer else None


def run_stages(
    recipe: Recipe,
    name: str,
    after: Sequence[str] = (),
    reads: Sequence[str] = (),
    preference: DpoLoss | None = None,
    reward: RewardLoss | None = None,
) -> Iterator[Stage[Any]]:
    """Plan and training of one run of the recipe, or of its series. ``after``: what must be there before its first
    step, though nothing of the run depends on it; ``reads``: what it reads besides its stream and its parent.
    """
    run = recipe.all_runs[name]
    shards, parent, learns = recipe.stream_of(name), recipe.parent_of(name), recipe.learns(name)
    yield Stage(
        f"run_plan/{name}",
        plan_run,
        PlanInput(name=name, run=run, tokenizer=recipe.tokenizer, scored=reward is not None),
        reads=[shards],
        kinds=["json"],
        claims=[PARAMETERS_AGREE, ONE_SEQUENCE],
    )
    imported = content_digest(Path(run.from_model), remembered_digest) if run.from_model else None
    branched = [f"checkpoint/{run.parent.run}"] if run.parent and run.parent.run != name else []
    yield TrainingJob(
        recipe.trained(name),
        pretrain,
        PretrainInput(
            name=name,
            run=run,
            tokenizer=recipe.tokenizer,
            learns=learns,
            imported=imported,
            preference=preference,
            reward=reward,
            whole=recipe.whole_steps(name),
            own_pairs=recipe.generated(name) is not None,
        ),
        reads=[shards, *([recipe.trained(parent)] if parent else []), *reads],
        kinds=["pytorch"],
        claims=[EVERY_STEP_RECORDED, LOSS_FINITE, LOSS_FALLS.only_warns(not from_scratch(run))],
        programs=[PROGRAMS[learns]],
        # The plan is made first, so that people see it before hours are spent, but it changes nothing of the run.
        after=[f"run_plan/{name}", *branched, *after],
        resources=["compute"],
        pool=POOL,
    )
