"""What went wrong, sent to where people look: a sensor that posts failed Dagster runs and jobs that nobody will start
again to a web hook.

The address comes from the environment (``NEO_ALERT_URL``), since whoever has it may write there. What is posted is
``{"text": "…"}``, which Slack, Mattermost, Rocket.Chat and many others take.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator

import dagster as dg

from neo_assets.core.jobs import JobFolder, JobState, job_folders
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store
from neo_assets.core.words import titled
from resources.compute.base import Compute

URL = "NEO_ALERT_URL"
NEWEST = 50
"""Dagster runs that are looked at, the newest first; what failed before these is not told any more."""
TIMEOUT_SECONDS = 15


def alerts(recipe: Recipe) -> dg.SensorDefinition:
    """The sensor of a recipe. Off until switched on: without an address there is nothing to switch on."""

    @dg.sensor(
        name="alert",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Posts each failed Dagster run, and each job that failed and will not be started again by itself, once to"
            f" the web hook in {URL}."
        ),
        required_resource_keys={"store", "compute"},
    )
    def alert(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason]:
        if not (url := os.environ.get(URL)):
            yield dg.SkipReason(f"{URL} is not set where the daemon runs: there is nobody to tell")
            return
        told = list(json.loads(context.cursor or "[]"))
        store: Store = context.resources.store.open()
        compute: Compute = context.resources.compute.open()
        sent = 0
        for name, text in [*failed_runs(context.instance), *failed_jobs(store, compute)]:
            if name not in told:
                post(url, f"{recipe.name}: {text}")  # a hook that does not answer fails the tick; it is told next time
                told.append(name)
                context.update_cursor(json.dumps(told[-20 * NEWEST :]))
                sent += 1
        yield dg.SkipReason(f"{sent} told" if sent else "nothing new went wrong")

    return alert


def failed_runs(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """(name, what to say) of the newest failed Dagster runs."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=NEWEST):
        failed = instance.get_run_stats(run.run_id)
        steps = getattr(failed, "steps_failed", 0)
        yield run.run_id, f"Dagster run {run.run_id[:8]} of {run.job_name} failed ({steps} steps)"


def failed_jobs(store: Store, compute: Compute) -> Iterator[tuple[str, str]]:
    """(name, what to say) of jobs that failed as often as they may."""
    for folder in job_folders(store.root):
        if (folder.path / "abandoned").exists() or not folder.attempts():
            continue
        state = compute.poll(folder)
        if state in (JobState.FAILED, JobState.LOST) and folder.failures() >= folder.spec().max_attempts:
            yield f"{folder.fingerprint}/{len(folder.attempts())}", _said(folder, state)


def _said(folder: JobFolder, state: JobState) -> str:
    return (
        f"{titled(folder.title)}: job {folder.fingerprint[:12]} {state} after {folder.failures()} attempts; neo logs"
        f" {folder.fingerprint[:12]}"
    )


def post(url: str, text: str) -> None:
    """Raises OSError where the hook does not take it."""
    request = urllib.request.Request(
        url, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
        pass
