"""The pretrain group: `run_plan`, `pretraining`, `checkpoint` and `hf_model`, by run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.declare import Declared, artifact, key
from neo_assets.pretrain.asked import note_asked
from neo_assets.pretrain.job import PretrainInput, checkpoint_folders, from_scratch, pretrain
from neo_assets.pretrain.partitions import Announcer, partitions
from neo_assets.pretrain.plan import PROGRAM, PlanInput, plan_run
from training.foreign import content_digest

GROUP = "pretrain"


def declared(recipe: Recipe) -> dict[str, Declared]:
    out: dict[str, Declared] = {}
    for name, run in recipe.runs.items():
        shards = f"token_shards/{run.phase}"
        out[f"run_plan/{name}"] = Declared(
            f"run_plan/{name}", plan_run, PlanInput(name=name, run=run, tokenizer=recipe.tokenizer), reads=[shards]
        )
        # The plan is made first, so that people see it before hours are spent, but it changes nothing about the run.
        imported = content_digest(Path(run.from_model), remembered_digest) if run.from_model else None
        config = PretrainInput(name=name, run=run, tokenizer=recipe.tokenizer, imported=imported)
        parent = recipe.parent_of(name)
        reads = [shards, f"pretraining/{parent}"] if parent else [shards]
        out[f"pretraining/{name}"] = Declared(f"pretraining/{name}", pretrain, config, reads=reads, programs=[PROGRAM])
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    entries = declared(recipe)
    out: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for name in recipe.runs:
        out.append(
            artifact(
                recipe,
                GROUP,
                entries[f"run_plan/{name}"],
                checks=["parameters_agree", "one_sequence_at_least"],
                kinds=["json"],
            )
        )
        out.append(_training_job(recipe, name, entries[f"pretraining/{name}"]))
        out.append(
            dg.AssetSpec(
                key(f"checkpoint/{name}"),
                deps=[key(f"pretraining/{name}")],
                group_name=GROUP,
                description=(
                    f"Checkpoints of run `{name}`, one partition each: weights, optimizer, data cursor, random states"
                    " and a certificate. They appear while training runs, saved by the job itself."
                ),
                owners=[recipe.owner],
                kinds={"pytorch"},
                partitions_def=partitions(name),
            )
        )
    return out


def _training_job(recipe: Recipe, name: str, entry: Declared) -> dg.AssetsDefinition:
    def call(
        context: dg.AssetExecutionContext,
        store: Store,
        made_from: MadeFrom,
        inputs: Mapping[str, Artifact],
        out: Workspace,
    ) -> Outcome:
        announcer = Announcer.of(context, store, name)
        jobs = context.resources.compute.open()
        return pretrain(
            entry.config,  # type: ignore[arg-type]
            inputs,
            out,
            recipe=recipe.name,
            made_from=made_from,
            store=store,
            jobs=jobs,
            report=announcer.handle,
        )

    def announce_all(context: dg.AssetExecutionContext, store: Store, made: Artifact) -> None:
        note_asked(store, recipe.name, name, made.fingerprint)  # made now, or found
        announcer = Announcer.of(context, store, name)
        for folder in checkpoint_folders(store, name, recipe.runs[name], made.fingerprint):
            announcer.announce(folder.name)

    checks = ["every_step_recorded", "loss_finite", "loss_falls"]
    warns = [] if from_scratch(recipe.runs[name]) else ["loss_falls"]
    parent = recipe.runs[name].parent
    deps = [f"run_plan/{name}", *([f"checkpoint/{parent.run}"] if parent and parent.run != name else [])]
    return artifact(
        recipe,
        GROUP,
        entry,
        checks=checks,
        warns=warns,
        kinds=["pytorch"],
        deps=deps,
        call=call,
        after=announce_all,
        required_resources=["compute"],
        pool="training",
    )
