"""A node goes down in the middle of an evaluation, with another waiting behind it; after the restart both come to their
end by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from neo_assets.asking import PROCESS_TAG
from neo_assets.core.jobs import JobFolder
from neo_assets.core.reach import ungathered
from neo_assets.core.store import Store
from resources.compute.local import LocalCompute
from tests.factory.conftest import ROOT, Factory

ENDED_WITHIN = 120
"""Seconds from the restart until a run whose process is gone is ended."""


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A daemon with its code server, as `make ui` runs it without the web server, in a session of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", "definitions"],
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def everything_of(session: int) -> list[int]:
    """Processes of a session, and their children in whatever session."""
    import psutil

    leaders = [p for p in psutil.process_iter() if p.pid == session]
    return [p.pid for leader in leaders for p in [leader, *leader.children(recursive=True)]]


def test_after_a_reboot_in_an_evaluation_everything_comes_to_its_end(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    extra = factory.another_recipe(tmp_path, "rebooted", "evaluation: {seed: 4711}\n")
    home = Path(extra["DAGSTER_HOME"]) / "dagster.yaml"
    home.write_text(home.read_text().replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"))
    made = factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "crawl_and_clean", **extra)
    assert made.returncode == 0, made.stderr[-3000:]
    made = factory.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "definitions",
        "--select",
        '+key:"pretraining_decay" or key:"heldout_tasks" or key:"benchmark_items"',
        **extra,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    environment, log = {**factory.environment, **extra}, tmp_path / "daemon.log"
    compute = LocalCompute(factory.folder / "store")
    known = {p.name for p in (compute.root / "jobs").iterdir()}

    for _ in range(2):
        asked = factory.run(
            "dagster",
            "job",
            "launch",
            "-m",
            "definitions",
            "-j",
            "evaluate",
            "--tags",
            '{"neofoundry/work": "evaluation"}',
            **extra,
        )
        assert asked.returncode == 0, asked.stderr[-2000:]
    daemon = start(environment, log)  # not before: the first might have ended when the second is asked for

    with dg.DagsterInstance.from_config(extra["DAGSTER_HOME"]) as instance:

        def runs(status: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            return instance.get_runs(dg.RunsFilter(statuses=[status], job_name="evaluate"))

        def jobs() -> list[JobFolder]:
            return [JobFolder(p) for p in (compute.root / "jobs").iterdir() if p.name not in known]

        # The first is at work on a job of its own, the second waits behind the limit of one.
        until(
            lambda: any(PROCESS_TAG in r.tags for r in runs(dg.DagsterRunStatus.STARTED)) and jobs(),
            180,
            log.read_text()[-3000:],
        )
        (dead,), waiting = runs(dg.DagsterRunStatus.STARTED), runs(dg.DagsterRunStatus.QUEUED)
        assert len(waiting) == 1
        for pid in everything_of(daemon.pid):
            os.kill(pid, signal.SIGKILL)
        for folder in jobs():
            compute.stop(folder.fingerprint, None)
        daemon.wait()
        assert [r.run_id for r in runs(dg.DagsterRunStatus.STARTED)] == [dead.run_id]  # its record says so for ever

        began = time.monotonic()
        daemon = start(environment, log)
        try:

            def ended() -> bool:
                found = instance.get_run_by_id(dead.run_id)
                return found is not None and found.status is dg.DagsterRunStatus.FAILURE

            until(ended, ENDED_WITHIN, f"the dead run was not ended: {log.read_text()[-3000:]}")
            print(f"ended {time.monotonic() - began:.0f} s after the restart")
            until(
                lambda: waiting[0].run_id in {r.run_id for r in runs(dg.DagsterRunStatus.SUCCESS)},
                300,
                f"what waited behind it never ran: {log.read_text()[-3000:]}",
            )
        finally:
            for pid in everything_of(daemon.pid):
                os.kill(pid, signal.SIGTERM)
            daemon.wait(timeout=60)
    left = [f"{folder.title} {compute.poll(folder)}" for folder in jobs() if ungathered(Store(compute.root), folder)]
    assert not left, left
