"""Exactly once: nobody attached, two at once, another database; one job per piece of work, and every checkpoint in the
event log once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from neo_assets.build import build_definitions, stages
from neo_assets.core.jobs import JobFolder, JobState
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.runs.job import job_spec
from resources.compute.local import LocalCompute
from resources.dagster_resources import resources
from tests.factory.conftest import ROOT, Factory
from tests.servers import Postgres

RECIPE = "runs:\n  main: {{steps: {steps}, early_checkpoints: 0}}\n  decay: null\n"


def prepared(factory: Factory, folder: Path, name: str, steps: int, **more: str) -> dict[str, str]:
    """A recipe of its own in the factory's store whose token shards are there and whose run has not been started."""
    extra = factory.another_recipe(folder, name, RECIPE.format(steps=steps)) | more
    done = factory.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "definitions",
        "--select",
        '+key:"token_shards_fundamental" or key:"run_plan_main"',
        **extra,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return extra


def new_jobs(factory: Factory, known: set[str]) -> list[JobFolder]:
    return [JobFolder(p) for p in (factory.folder / "store" / "jobs").iterdir() if p.name not in known]


def test_what_a_job_does_with_nobody_attached_reaches_the_event_log(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = prepared(factory, tmp_path, "watched", 24)
    for name, value in {**factory.environment, **extra}.items():
        if name.startswith(("NEO_", "DAGSTER_")):
            monkeypatch.setenv(name, value)
    recipe, store = load(), Store(factory.folder / "store")
    entry, compute = stages(recipe)["pretraining/main"], LocalCompute(factory.folder / "store")
    inputs = {name: store.head(recipe.name, name) for name in entry.reads}
    # As a submitter that died right after its submission.
    folder = compute.submit(job_spec(entry.config, entry.made_from(inputs), inputs, store))  # type: ignore[arg-type]
    while compute.poll(folder) is JobState.RUNNING:
        time.sleep(0.2)
    folder.record_attempt(folder.attempts()[0].model_copy(update={"started_at": time.time() - 3600}))

    definitions = build_definitions(recipe)
    sensor = definitions.get_sensor_def("watch_training_jobs")
    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as instance:
        ticks = [
            sensor.evaluate_tick(
                dg.build_sensor_context(instance, definitions=definitions, resources=resources(recipe))
            ).run_requests
            or []
            for _ in range(2)
        ]
        records = instance.fetch_materializations(key("checkpoint/main"), limit=100).records
    assert Counter(str(r.partition_key).split("-")[0] for r in records) == {
        "0000000": 1,
        "0000010": 1,
        "0000020": 1,
        "0000024": 1,
    }
    assert [[r.run_key for r in tick] for tick in ticks] == [
        [f"{folder.fingerprint}/1/succeeded/1"]
    ] * 2  # one key: Dagster starts it once
    done = factory.run(
        "dagster", "asset", "materialize", "-m", "definitions", "--select", "key:pretraining_main", **extra
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(folder.attempts()) == 1
    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as instance:
        assert not sensor.evaluate_tick(
            dg.build_sensor_context(instance, definitions=definitions, resources=resources(recipe))
        ).run_requests
        assert len(instance.fetch_materializations(key("checkpoint/main"), limit=100).records) == 4


def test_a_job_that_is_followed_is_left_to_its_follower(tmp_path: Path) -> None:
    compute = LocalCompute(tmp_path)
    folder = JobFolder(tmp_path / "jobs" / "x")
    folder.path.mkdir(parents=True)
    assert not compute.attended(folder)
    follower = subprocess.Popen(["flock", "--shared", "--no-fork", str(folder.path / "followers"), "sleep", "30"])
    try:
        deadline = time.monotonic() + 10
        while not compute.attended(folder):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        follower.kill()
        follower.wait()
    assert not compute.attended(folder)


def postgres_home(folder: Path, server: Postgres) -> dict[str, str]:
    home = folder / "postgres"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        (ROOT / "deploy" / "postgres" / "dagster.yaml")
        .read_text()
        .replace("poll_interval_seconds: 30", "poll_interval_seconds: 2")
    )
    return {"DAGSTER_HOME": str(home), "NEO_POSTGRES_URL": server.url}


def test_on_postgres_the_same_asset_asked_for_twice_at_once_is_one_job(
    first_run: subprocess.CompletedProcess[str],
    factory: Factory,
    tmp_path: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pool `training` of deploy/postgres lets one step in; the other waits, and finds everything made. A run killed
    in the pool frees it, through the daemon.
    """
    extra = prepared(factory, tmp_path, "shared", 30, **postgres_home(tmp_path, postgres))
    monkeypatch.setenv("NEO_POSTGRES_URL", postgres.url)
    known = {p.name for p in (factory.folder / "store" / "jobs").iterdir()}
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "definitions", "-j", "pretrain"]
    environment = {**factory.environment, **extra}
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (jobs := new_jobs(factory, known)):
        assert first.poll() is None and time.monotonic() < deadline, "no job was started"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)  # it holds the pool's only slot now, and can never give it back
    first.wait()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dagster._daemon", "run", "-m", "definitions"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as instance:
        dead = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        for run in (
            dead
        ):  # a bare `dagster job execute` has no worker that the daemon could miss; the UI's Terminate says the same
            instance.report_run_failed(run)
    try:
        both = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
        ]
        told = [process.communicate(timeout=240)[1] for process in both]
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
    assert [process.returncode for process in both] == [0, 0], told
    assert [f.path for f in new_jobs(factory, known)] == [jobs[0].path]
    assert len(jobs[0].attempts()) == 1
    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as instance:
        records = instance.fetch_materializations(key("checkpoint/main"), limit=100).records
    assert Counter(str(r.partition_key).split("-")[0] for r in records) == {
        f"{step:07d}": 1 for step in (0, 10, 20, 30)
    }
