"""The watcher: what a training job does while no Dagster run follows it still reaches the event log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from neo_assets.asking import requests
from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import JobFolder, JobState
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import Stage
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.runs.partitions import Announcer
from resources.compute.base import Compute

QUIET_SECONDS = 30.0
"""How old an attempt must be before the watcher takes it up: the run that started it gets there first."""


def watcher(recipe: Recipe, stages: Mapping[str, Stage[Any]]) -> dg.SensorDefinition:
    """The sensor over all training jobs of a recipe. Off until switched on."""

    @dg.sensor(
        name="watch_training_jobs",
        target=dg.AssetSelection.assets(*(key(recipe.trained(run)) for run in recipe.runs)),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Puts checkpoints into the event log that a training job saves while no Dagster run follows it, and asks"
            " for a run when the job has ended or stopped."
        ),
        required_resource_keys={"store", "compute"},
    )
    def watch_training_jobs(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        store: Store = context.resources.store.open()
        compute: Compute = context.resources.compute.open()
        told, due = 0, {}
        for run in recipe.runs:
            folder = job_of(stages[recipe.trained(run)], store, compute, recipe)
            attempt = folder.last_attempt() if folder else None
            if (
                folder is None
                or attempt is None
                or compute.attended(folder)
                or time.time() - attempt.started_at < QUIET_SECONDS
            ):
                continue
            announcer = Announcer(
                context.instance, context.instance.report_runless_asset_event, context.log.info, store, run
            )
            before = len(announcer.known)
            for message in folder.messages()[0]:
                if message.event == "checkpoint":
                    announcer.announce(str(message.data["name"]))
            told += len(announcer.known) - before
            state = compute.poll(folder)
            # What counts is that nobody holds the job's lock, not what records say of runs whose process may be gone.
            if needs_a_run(state, folder, store, recipe, run):
                due[f"{folder.fingerprint}/{len(folder.attempts())}/{state}"] = {
                    "asset_selection": [key(recipe.trained(run))]
                }
        if due:
            yield from requests(context.instance, "watch_training_jobs", due)
        else:
            yield dg.SkipReason(
                f"{told} checkpoints recorded" if told else "every job that runs is followed, or has nothing new"
            )

    return watch_training_jobs


def job_of(entry: Stage[Any], store: Store, compute: Compute, recipe: Recipe) -> JobFolder | None:
    """The job that would make this run as the recipe has it now, if it was started."""
    try:
        folder = compute.folder(
            entry.made_from({name: store.head(recipe.name, name) for name in entry.reads}).fingerprint
        )
    except NeoError:
        return None
    return folder if folder.exists() else None


def needs_a_run(state: JobState, folder: JobFolder, store: Store, recipe: Recipe, run: str) -> bool:
    """Whether a job waits for a Dagster run: to gather what it made, or to be started again."""
    if state is JobState.SUCCEEDED:
        return store.head_pointer(recipe.name, recipe.trained(run)) != (recipe.trained(run), folder.fingerprint)
    if state in (JobState.FAILED, JobState.LOST):
        return folder.failures() < folder.spec().max_attempts
    return state is JobState.STOPPED
