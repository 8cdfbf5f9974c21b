"""Unattended: what is due is asked for again after a failed run, and no dead run stands in the way."""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
import pytest

from neo_assets.asking import ASKED_AT_MOST, ASKS_TAG, PROCESS_TAG, WILL_RETRY, end_dead_runs, requests
from neo_assets.core import process

DUE = {"0000010-abc/today": {"partition_key": "0000010-abc"}}


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def record(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """A run as it is left in storage."""
    run = instance.create_run_for_job(dg.job(name="j")(lambda: None), tags=tags, status=dg.DagsterRunStatus.NOT_STARTED)
    if status is dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    elif status is dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run)
    elif status is dg.DagsterRunStatus.STARTED:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name), run.run_id
        )
    return run


def asked(instance: dg.DagsterInstance) -> tuple[list[str], list[str]]:
    """Run keys that are asked for now, and what is said where none is."""
    given = list(requests(instance, "a sensor", DUE))
    return [str(r.run_key) for r in given if isinstance(r, dg.RunRequest)], [
        str(r.skip_message) for r in given if isinstance(r, dg.SkipReason)
    ]


def as_asked(instance: dg.DagsterInstance) -> dict[str, str]:
    (request,) = (r for r in requests(instance, "a sensor", DUE) if isinstance(r, dg.RunRequest))
    return dict(request.tags)


def test_what_failed_is_asked_for_again_a_few_times_and_then_said(instance: dg.DagsterInstance) -> None:
    keys = []
    for _ in range(ASKED_AT_MOST):
        (now,), _ = asked(instance)
        keys.append(now)
        record(instance, dg.DagsterRunStatus.FAILURE, **as_asked(instance))
    assert keys == [f"0000010-abc/today/{n}" for n in range(1, ASKED_AT_MOST + 1)]
    none, said = asked(instance)
    assert not none and f"asked for {ASKED_AT_MOST} times, and still not there" in said[0]


def test_nothing_is_asked_for_while_a_run_waits_or_works_or_dagster_retries_it(instance: dg.DagsterInstance) -> None:
    tags = as_asked(instance)
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED):
        run = record(instance, status, **tags)
        assert asked(instance) == ([], ["what is due has been asked for"])
        instance.delete_run(run.run_id)
    failed = record(instance, dg.DagsterRunStatus.FAILURE, **tags, **{WILL_RETRY: "true"})
    assert asked(instance)[0] == []
    record(instance, dg.DagsterRunStatus.FAILURE, **tags, **{"dagster/parent_run_id": failed.run_id})
    assert asked(instance)[0] == ["0000010-abc/today/3"]


def test_what_somebody_cancelled_is_left_to_him(instance: dg.DagsterInstance) -> None:
    record(instance, dg.DagsterRunStatus.CANCELED, **as_asked(instance))
    none, said = asked(instance)
    assert not none and "was cancelled; ask for it by hand" in said[0]


def test_a_run_whose_process_is_gone_is_ended_and_one_that_cannot_be_judged_is_not(
    instance: dg.DagsterInstance,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tags = {name: {PROCESS_TAG: process.written(found)} for name, found in {
        "lives": process.handle(os.getpid()),
        "killed": process.handle(child.pid),
        "before the reboot": process.handle(os.getpid()) | {"boot": "another"},
        "reused id": process.handle(os.getpid()) | {"ticks": 1},
        "another host": process.handle(os.getpid()) | {"host": "another"},
    }.items()}  # fmt: skip
    tags |= {"of an older version": {}, "torn": {PROCESS_TAG: "12 x"}}
    runs = {name: record(instance, dg.DagsterRunStatus.STARTED, **t) for name, t in tags.items()}
    assert len(end_dead_runs(instance)) == 2
    child.kill()
    child.wait()
    assert len(end_dead_runs(instance)) == 1
    ended = {
        name
        for name, run in runs.items()
        if (found := instance.get_run_by_id(run.run_id)) and found.status is dg.DagsterRunStatus.FAILURE
    }
    assert ended == {"killed", "before the reboot", "reused id"}
    assert end_dead_runs(instance) == []


def test_a_run_says_which_process_it_is() -> None:
    from resources.dagster_resources import StoreResource

    @dg.asset(required_resource_keys={"store"})
    def something() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [something], instance=instance, resources={"store": StoreResource(root="nowhere")}, tags={ASKS_TAG: "x"}
        )
        run = instance.get_run_by_id(done.run_id)
    assert run is not None and run.tags[PROCESS_TAG] == process.mine()
