"""Asking for Dagster runs unattended: again after one that failed, a few times, and never because of a record that
nobody stands behind any more.

Dagster starts one run per run key, ever, and believes what its records say of a run. A node that goes down leaves both
behind: runs that are STARTED for ever, in front of a queue that lets one in at a time, and keys that are used up by
runs which never began. So every run says which process it is, a sensor ends those whose process is gone, and what is
still due is asked for again under the next key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from neo_assets.core import process

PROCESS_TAG = "neofoundry/process"
ASKS_TAG = "neofoundry/asks_for"
ASKED_AT_MOST = 5
"""Runs, retries among them, after which nobody asks again by himself."""
WILL_RETRY, PARENT = "dagster/will_retry", "dagster/parent_run_id"
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
AT_WORK = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Answer:
    """Whether something is to be asked for now, under which run key; if not, why, where a person should know."""

    run_key: str | None
    why_not: str = ""


class Asked:
    """The runs that were asked for by these words before, newest first."""

    def __init__(self, instance: dg.DagsterInstance, prefix: str) -> None:
        found: dict[str, list[dg.DagsterRun]] = {}
        for run in instance.get_runs(dg.RunsFilter(tags={f"{ASKS_TAG}/group": prefix})):
            found.setdefault(run.tags.get(ASKS_TAG, ""), []).append(run)
        self.prefix, self.found = prefix, found

    def tags(self, what: str) -> dict[str, str]:
        """Tags of a run that is asked for now."""
        return {ASKS_TAG: what, f"{ASKS_TAG}/group": self.prefix}

    def again(self, what: str) -> Answer:
        """Whether to ask for ``what``, which is due: not while a run for it waits or works, not after somebody
        cancelled one, and not for ever.
        """
        runs = self.found.get(what, [])
        retried = {run.tags.get(PARENT) for run in runs}
        if any(
            run.status not in FINISHED or (run.tags.get(WILL_RETRY) == "true" and run.run_id not in retried)
            for run in runs
        ):
            return Answer(None)
        if runs and runs[0].status is dg.DagsterRunStatus.CANCELED:
            return Answer(None, f"{what}: run {runs[0].run_id[:8]} was cancelled; ask for it by hand")
        if len(runs) >= ASKED_AT_MOST:
            return Answer(
                None,
                f"{what}: asked for {len(runs)} times, and still not there; the last run was {runs[0].run_id[:8]}. Ask"
                " for it by hand when that is mended",
            )
        return Answer(f"{what}/{len(runs) + 1}")


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose process is gone; returns them in words. One of another host is left alone: whether it lives
    cannot be told from here.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK)):
        found = process.read(run.tags.get(PROCESS_TAG, ""))
        if found is None or process.alive(found) is not False:
            continue
        said = f"its process ({found['pid']} on {found['host']}) is gone: killed, or the host went down"
        instance.report_run_failed(run, said)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(f"run {run.run_id[:8]} of {run.job_name}: {said}")
    return ended


@dg.sensor(
    name="end_dead_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Ends Dagster runs whose process is gone (a killed worker, a host that went down), so that nothing waits behind"
        " them. Training jobs are no part of a run and go on."
    ),
)
def dead_runs(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason]:
    ended = end_dead_runs(context.instance)
    for line in ended:
        context.log.warning(line)
    yield dg.SkipReason("; ".join(ended) or "every run that has started has its process")


def requests(
    instance: dg.DagsterInstance, group: str, due: Mapping[str, Mapping[str, object]]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A request for each thing that is due (by what it is called, with what a RunRequest of it takes), or a reason why
    there is none.
    """
    asked = Asked(instance, group)
    why_not = []
    none = True
    for what, fields in due.items():
        answer = asked.again(what)
        if answer.run_key is None:
            why_not += [answer.why_not] if answer.why_not else []
            continue
        none = False
        more = dict(fields)
        tags = {**asked.tags(what), **dict(more.pop("tags", {}))}  # type: ignore[call-overload]
        yield dg.RunRequest(run_key=answer.run_key, tags=tags, **more)  # type: ignore[arg-type]
    if none:
        yield dg.SkipReason("; ".join(why_not) or "what is due has been asked for")
