"""``reference_logprobs/‹run›``: what the reference gives both answers of every pair that a run learns from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neo_assets.align.refused import refuse_after_collapse
from neo_assets.align.round_names import POLICY
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.run import Parent
from neo_assets.core.store import Artifact, Check, MadeFrom, Outcome, Store, Workspace
from neo_assets.declare import AttendedStage, Making
from neo_assets.runs.export import run_to_end, take
from neo_assets.runs.job import PretrainInput, find_start
from neo_assets.runs.plan import ids
from resources.compute.base import Compute
from training.reference import FILE, REFERENCE
from training.spec import PretrainConfig

PROGRAM = "training.reference"


def reference_logprobs(
    config: PretrainInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    made_from: MadeFrom,
    store: Store,
    jobs: Compute,
    kind: str = REFERENCE,
) -> Outcome:
    """Log-probabilities of both answers of every pair under the reference, summed over each, in a job of its own.

    Made by the kernels, precision and micro-batch size that training uses, so that a policy that is the reference has
    margins of exactly zero.
    """
    shards, title = inputs[config.stream], f"{kind}/{config.name}"
    told = PretrainConfig(
        run_name=config.name,
        run_fingerprint=made_from.fingerprint,
        run=config.run,
        vocab_rows=config.run.model.vocab_rows(ids(config.tokenizer)),
        start=find_start(config, inputs, store),
    )
    spec = JobSpec(
        work_fingerprint=made_from.fingerprint,
        title=title,
        program=PROGRAM,
        **claimed(PROGRAM),
        max_attempts=2,
        threads_per_rank=config.run.threads_per_rank,
        config=told.model_dump(),
        inputs={"token_shards": store.relative(shards.path)},
        out=f"jobs/{made_from.fingerprint}/out",
        makes=[f"{title}/{made_from.fingerprint}"],
    )
    run_to_end(jobs, spec)
    take(store.root / spec.out, out)
    sums = np.load(out.path / FILE, allow_pickle=False)
    pairs = json.loads(shards.file("stream.json").read_text(encoding="utf-8"))["pairs"]
    better = float((sums[:, 0] > sums[:, 1]).mean()) if len(sums) else 0.0
    return Outcome(
        digest=digest_file(out.path / FILE),
        numbers={"pairs": len(sums), "better_is_likelier": round(better, 4)},
        checks=[
            Check(
                name="every_pair",
                passed=len(sums) == pairs and bool(np.isfinite(sums).all() and (sums < 0).all()),
                detail=f"{len(sums)} of {pairs} pairs",
            )
        ],
    )


def policy_logprobs(
    config: PretrainInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    *,
    made_from: MadeFrom,
    store: Store,
    jobs: Compute,
) -> Outcome:
    """Log-probabilities of both answers of every pair under the model that has learnt from them: beside those of its
    reference they say whether the better answers became likelier, or all of them less likely.
    """
    return reference_logprobs(config, inputs, out, made_from=made_from, store=store, jobs=jobs, kind=POLICY)


def measured_against(recipe: Recipe, name: str, reference: str) -> PretrainInput:
    """The input of such a stage: the run, as if it began from its reference."""
    run = recipe.runs[name]
    own = run.parent is not None and run.parent.run == reference
    parent = run.parent if own else Parent.model_validate({"run": reference})
    return PretrainInput(
        name=name,
        run=run.model_copy(update={"parent": parent}),
        tokenizer=recipe.tokenizer,
        learns="dpo",
        own_pairs=recipe.generated(name) is not None,
    )


@dataclass(frozen=True)
class ReferenceJob(AttendedStage[PretrainInput]):
    """Asked of the compute backend, like training."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        if self.kind == REFERENCE:  # the first of a round that writes no pairs
            refuse_after_collapse(at.recipe, at.store, self.config.name)
        return self.run(
            self.config, at.inputs, out, made_from=self.made_from(at.inputs), store=at.store, jobs=at.compute
        )
