"""``reference_logprobs/‹run›``: what the reference gives both answers of every pair that a run learns from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neo_assets.align.refused import refuse_after_collapse
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.run import Parent
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.declare import Making
from neo_assets.runs.job import PretrainInput, find_start
from neo_assets.runs.job_stage import Aside, JobStage
from neo_assets.runs.plan import ids
from training.reference import FILE
from training.spec import PretrainConfig

PROGRAM = "training.reference"


def reference_logprobs(
    config: PretrainInput,
    inputs: Mapping[str, Artifact],
    out: Workspace,
    aside: Aside,
) -> Outcome:
    """Log-probabilities of both answers of every pair under the reference, summed over each, in a job of its own.

    Made by the kernels, precision and micro-batch size that training uses, so that a policy that is the reference has
    margins of exactly zero.
    """
    shards = inputs[config.stream]
    told = PretrainConfig(
        run_name=config.name,
        run_fingerprint=aside.fingerprint,
        run=config.run,
        vocab_rows=config.run.model.vocab_rows(ids(config.tokenizer)),
        start=find_start(config, inputs, aside.store),
    )
    threads = config.run.threads_per_rank
    aside.run(PROGRAM, told.model_dump(), {"token_shards": shards.path}, out, threads=threads)
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
    aside: Aside,
) -> Outcome:
    """Log-probabilities of both answers of every pair under the model that has learnt from them: beside those of its
    reference they say whether the better answers became likelier, or all of them less likely.
    """
    return reference_logprobs(config, inputs, out, aside)


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
class ReferenceJob(JobStage[PretrainInput]):
    """The first of a round that writes no pairs: not asked of a model whose own round was refused."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        refuse_after_collapse(at.recipe, at.store, self.config.name)
        return super().make(at, out)
