"""From a recipe to Dagster's Definitions: every room's stages in the order of the story, and the jobs, sensors and
schedules over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from neo_assets.align import assets as align
from neo_assets.asking import dead_runs
from neo_assets.clean import assets as clean
from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Stage, steps
from neo_assets.corpus import assets as corpus
from neo_assets.crawl import assets as crawl
from neo_assets.declare import asset_of, key, label
from neo_assets.evaluate import assets as evaluate
from neo_assets.evaluate.automation import evaluation_schedule, evaluation_sensors
from neo_assets.extract import assets as extract
from neo_assets.paper import assets as paper
from neo_assets.pretrain import assets as pretrain
from neo_assets.quality import assets as quality
from neo_assets.release import assets as release
from neo_assets.report import assets as report
from neo_assets.runs.alerts import alerts
from neo_assets.runs.partitions import checkpoints
from neo_assets.runs.sensors import watcher
from neo_assets.scaling import assets as scaling
from neo_assets.scores import assets as scores
from neo_assets.site import assets as site
from neo_assets.tasks import assets as tasks
from neo_assets.tasks.benchmark_items import KEY as BENCHMARKS
from neo_assets.tokenizer import assets as tokenizer
from neo_assets.trace import assets as trace
from resources.console import CONSOLE, terse_console
from resources.dagster_resources import resources

TELLING = {
    "tasks": tasks.stages,
    "crawl": crawl.stages,
    "extract": extract.stages,
    "clean": clean.stages,
    "dedup": None,  # cleaning steps tell themselves
    "quality": quality.stages,
    "corpus": corpus.stages,
    "tokenizer": tokenizer.stages,
    "scaling": scaling.stages,
    "pretrain": pretrain.stages,
    "align": align.stages,
    "evaluate": evaluate.stages,
    "trace": trace.stages,
    "scores": scores.stages,
}
"""Rooms in the order of the story, and what tells their stages; then the report, which reads all of them, the paper,
the release and the site.
"""
ROOMS = (*TELLING, "report", "paper", "release", "site")
"""The groups of the asset graph, numbered so that lists follow the story."""
BY_STEP = ("checkpoint", "hf_model", "eval_scores")
DATA_ROOMS = ("crawl", "extract", "clean", "dedup", "quality", "corpus")


def stages(recipe: Recipe) -> dict[str, Stage[Any]]:
    """Every unpartitioned artifact of a recipe by its name, each after what it reads."""
    told = [replace(stage, room=room) for room, tell in TELLING.items() if tell for stage in tell(recipe)]
    told = _each_after_what_it_reads([*told, *steps(recipe)], recipe)
    told += [replace(stage, room="report") for stage in report.stages(recipe, told)]
    told += [replace(stage, room="paper") for stage in paper.stages(recipe, told)]
    told += [replace(stage, room="release") for stage in release.stages(recipe)]
    told += [replace(stage, room="site") for stage in site.stages(recipe, told)]
    known: dict[str, str] = {}
    for stage in told:
        if (other := known.setdefault(label(stage.name), stage.name)) != stage.name:
            raise BadInput(
                f"recipe '{recipe.name}': {other} and {stage.name} would both be called {label(stage.name)} in Dagster;"
                " rename a source or run"
            )
    return {stage.name: stage for stage in told}


def _each_after_what_it_reads(told: Iterable[Stage[Any]], recipe: Recipe) -> list[Stage[Any]]:
    """The stages in the order of the rooms, put off until what they read has come."""
    waiting = sorted(told, key=lambda stage: ROOMS.index(stage.room))
    names = {stage.name for stage in waiting}
    if lost := [(stage.name, name) for stage in waiting for name in stage.reads if name not in names]:
        raise BadInput(f"recipe '{recipe.name}': {lost[0][0]} reads {lost[0][1]}, which nothing makes")
    out: dict[str, Stage[Any]] = {}
    while waiting:
        # A checkpoint that a stage waits for is no stage: training fills it.
        ready = next((s for s in waiting if all(r in out for r in (*s.reads, *s.after) if r in names)), None)
        if ready is None:
            circle = ", ".join(stage.name for stage in waiting)
            raise BadInput(f"recipe '{recipe.name}': these stages read each other in a circle: {circle}")
        out[ready.name] = ready
        waiting.remove(ready)
    return list(out.values())


def artifact_named(text: str, entries: Mapping[str, Stage[Any]], recipe: Recipe) -> str:
    """The artifact a person means by ``clean_docs/en``, or by Dagster's ``clean_docs_en``."""
    for name in entries:
        if text in (name, label(name)):
            return name
    if label(text) in (f"{stage}_{run}" for stage in BY_STEP for run in recipe.all_runs):
        raise BadInput(
            f"{text} is many artifacts, one a training step, made by pretraining and evaluation; ask about those"
        )
    raise BadInput(
        f"recipe '{recipe.name}' has no asset '{text}'.{did_you_mean(text, entries)} `neo plan` lists all"
        f" {len(entries)}."
    )


def groups(told: Mapping[str, Stage[Any]]) -> dict[str, str]:
    """By room that a recipe has stages in: its group in the asset graph, '05_dedup'."""
    there = {room for stage in told.values() for room in (stage.room, stage.shown_in or stage.room)}
    return {room: f"{i:02}_{room}" for i, room in enumerate((r for r in ROOMS if r in there), 1)}


def build_definitions(recipe: Recipe) -> dg.Definitions:
    """Everything Dagster shows and runs for one recipe."""
    told = stages(recipe)
    group = groups(told)
    made = [asset_of(stage, recipe, group[stage.shown_in or stage.room]) for stage in told.values()]
    exported_in = {run: group[told[recipe.trained(run)].room] for run in recipe.all_runs}
    by_step = list(evaluate.partitioned(recipe, exported_in, scored_in=group["evaluate"]))
    external = checkpoints(recipe, exported_in)
    reevaluate = dg.define_asset_job(
        "reevaluate",
        _those_in(told, "tasks", "evaluate", "trace", "scores"),
        description="Scores whatever has no score under today's tasks; scheduled.",
        config=CONSOLE,
    )
    jobs = [
        dg.define_asset_job(
            "factory",
            dg.AssetSelection.assets(*(key(name) for name in told)),
            description="Everything the recipe asks for, from raw crawl to report. What exists is reused.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "crawl_and_clean",
            _those_in(told, *DATA_ROOMS) | dg.AssetSelection.assets(key(BENCHMARKS)),
            description="From raw crawl to the mixture.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "pretrain",
            _those_in(told, "pretrain"),
            description="Plan and train every run, on token shards that exist.",
            config=CONSOLE,
        ),
        dg.define_asset_job(
            "evaluate",
            _those_in(told, "tasks", "evaluate", "trace", "scores"),
            description=(
                "Export and score every due checkpoint that has no score under today's tasks, gather all scores, and"
                " judge the last checkpoints: fails if a blocking gate refuses."
            ),
            config=CONSOLE,
        ),
        reevaluate,
    ]
    if recipe.scaling is not None:
        jobs.append(
            dg.define_asset_job(
                "scaling",
                dg.AssetSelection.assets(key("forecast_outcome")).upstream().materializable(),
                description="The series, its laws, the forecast, the run that it is of, the outcome; and their text.",
                config=CONSOLE,
            )
        )
    if any(recipe.tuned(run) for run in recipe.runs):
        wanted = dg.AssetSelection.assets(key("comparison")) | _those_in(told, "align")
        jobs.append(
            dg.define_asset_job(
                "align",
                wanted.upstream().materializable(),
                description="Conversations, fine-tuning and its scores; and the text and the run that it begins from.",
                config=CONSOLE,
            )
        )
    return dg.Definitions(
        assets=[*made, *external, *by_step],
        jobs=jobs,
        sensors=[*evaluation_sensors(recipe), watcher(recipe, told), alerts(recipe), dead_runs],
        schedules=[evaluation_schedule(recipe, reevaluate)],
        resources=resources(recipe),
        executor=dg.in_process_executor,
        loggers={"console": terse_console},
    )


def _those_in(told: Mapping[str, Stage[Any]], *rooms: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key(name) for name, stage in told.items() if stage.room in rooms))
