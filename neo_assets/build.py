"""From a recipe to Dagster's Definitions: all groups in the order of the story, and the jobs, sensors and schedules
over them.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from neo_assets.asking import dead_runs
from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, key, label
from neo_assets.evaluate.automation import evaluation_schedule, evaluation_sensors
from neo_assets.pretrain.sensors import watcher
from neo_assets.release import assets as release
from resources.console import CONSOLE, terse_console
from resources.dagster_resources import resources

GROUPS = (*release.STORY, release)
BY_STEP = ("checkpoint", "hf_model", "eval_scores")
DATA_GROUPS = ("crawl", "extract", "clean", "dedup", "quality", "corpus")


def declared(recipe: Recipe) -> dict[str, Declared]:
    """What every unpartitioned artifact of a recipe is made from, in the order of the story."""
    entries = {name: entry for group in GROUPS for name, entry in group.declared(recipe).items()}
    known: dict[str, str] = {}
    for name in entries:
        if (other := known.setdefault(label(name), name)) != name:
            raise BadInput(
                f"recipe '{recipe.name}': {other} and {name} would both be called {label(name)} in Dagster; rename a"
                " source or run"
            )
    return entries


def artifact_named(text: str, entries: Mapping[str, Declared], recipe: Recipe) -> str:
    """The artifact a person means by ``clean_docs/en``, or by Dagster's ``clean_docs_en``."""
    for name in entries:
        if text in (name, label(name)):
            return name
    if label(text) in (f"{stage}_{run}" for stage in BY_STEP for run in recipe.runs):
        raise BadInput(
            f"{text} is many artifacts, one a training step, made by pretraining and evaluation; ask about those"
        )
    raise BadInput(
        f"recipe '{recipe.name}' has no asset '{text}'.{did_you_mean(text, entries)} `neo plan` lists all"
        f" {len(entries)}."
    )


def build_definitions(recipe: Recipe) -> dg.Definitions:
    """Everything Dagster shows and runs for one recipe."""
    assets = [asset for group in GROUPS for asset in group.assets(recipe)]
    by_step = (
        dg.AssetSelection.assets(
            *(
                asset.key
                for asset in assets
                if isinstance(asset, dg.AssetsDefinition) and asset.partitions_def is not None
            )
        )
        if recipe.runs
        else dg.AssetSelection.assets()
    )
    external = dg.AssetSelection.assets(*(asset.key for asset in assets if isinstance(asset, dg.AssetSpec)))
    runs = [key(f"{stage}/{name}") for name in recipe.runs for stage in ("run_plan", "pretraining")]
    shared = ("benchmark_items", "heldout_tasks", "contamination", "score_matrix", "comparison")
    evaluations = dg.AssetSelection.assets(
        *(key(f"evaluation/{name}") for name in recipe.runs), *(key(name) for name in shared)
    )
    reevaluate = dg.define_asset_job(
        "reevaluate",
        evaluations,
        description="Scores whatever has no score under today's tasks; scheduled.",
        config=CONSOLE,
    )
    jobs = [
        dg.define_asset_job(
            "factory",
            dg.AssetSelection.all() - by_step - external,
            description="Everything the recipe asks for, from raw crawl to report. What exists is reused.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "crawl_and_clean",
            dg.AssetSelection.groups(*DATA_GROUPS),
            description="From raw crawl to the mixture.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "pretrain",
            dg.AssetSelection.assets(*runs),
            description="Plan and train every run, on token shards that exist.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "evaluate",
            evaluations,
            description=(
                "Export and score every due checkpoint that has no score under today's tasks, gather all scores, and"
                " judge the last checkpoints: fails if a blocking gate refuses."
            ),
            config=CONSOLE,
        ),
        reevaluate,
    ]
    return dg.Definitions(
        assets=assets,
        jobs=jobs,
        sensors=[*evaluation_sensors(recipe), watcher(recipe, declared(recipe)), dead_runs],
        schedules=[evaluation_schedule(recipe, reevaluate)],
        resources=resources(recipe),
        executor=dg.in_process_executor,
        loggers={"console": terse_console},
    )
