"""`neo jobs`, `neo logs`, `neo watch`, `neo cancel`, `neo pause`, `neo resume`: see, follow and stop jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.completion import RUNS
from neo_assets.core.errors import MissingUpstream
from neo_assets.core.jobs import ALIVE, JobFolder, JobState, job_folders
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.scalars import real
from neo_assets.core.shard_job import progress, story
from neo_assets.core.store import MANIFEST, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.trainings import trained_run
from neo_assets.core.usage import usage
from neo_assets.core.words import age, titled
from neo_assets.runs.asked import asked_runs, askers, not_anothers
from neo_assets.runs.watch import watch_job
from resources.compute import open_compute
from resources.compute.base import Compute

JobArgument = Annotated[
    str,
    typer.Argument(
        help="a run of the recipe (its newest job), or a job's fingerprint or its first letters", autocompletion=RUNS
    ),
]
FOLLOW_SECONDS = 0.5


def _compute() -> Compute:
    return open_compute(load().compute, store_root())


def _find(compute: Compute, job: str) -> JobFolder:
    """The job a person means: the one that the recipe asked for last of a run of its own, or one by its fingerprint."""
    recipe, store = load(), Store(compute.root)
    if job not in recipe.all_runs:
        return compute.find(job)
    mine, asked = not_anothers(store, recipe.name, job), asked_runs(store, recipe.name, job)
    there = {
        folder.fingerprint: folder
        for folder in job_folders(store.root)
        if folder.title == recipe.trained(job) and mine(folder.fingerprint)
    }
    found = next(
        (there[fingerprint] for fingerprint in reversed(asked) if fingerprint in there),
        next(reversed(there.values()), None),
    )
    if found is None:
        if not asked:
            raise MissingUpstream(f"recipe '{recipe.name}' has not started run '{job}'")
        kept = store.folder(recipe.trained(job), asked[-1])
        raise MissingUpstream(
            f"the job of run '{job}' is not in the store any more"
            + (f"; what it made and its log are in {kept}" if (kept / MANIFEST).is_file() else "")
        )
    return found


def _kept_log(compute: Compute, run: str) -> Path | None:
    """The log of a run that this recipe's build holds."""
    recipe, store = load(), Store(compute.root)
    made = store.find(*pointer) if (pointer := store.head_pointer(recipe.name, recipe.trained(run))) else None
    return made.file("log.txt") if made else None


def jobs(
    as_json: bool = JSON, everything: Annotated[bool, typer.Option("--all", help="finished ones too")] = False
) -> None:
    """Jobs that run, or went wrong; --all lists finished ones too."""
    recipe, compute = load(), _compute()
    rows, whose = [], askers(Store(store_root()))
    for folder in job_folders(store_root()):
        state = compute.poll(folder)
        if state is JobState.SUCCEEDED and not everything:
            continue
        used = usage(folder)
        rows.append(
            {
                "job": folder.fingerprint[:12],
                "what": titled(folder.title),
                "recipe": ", ".join(whose.get(_run_of(folder), ())),
                "state": str(state),
                "attempts": len(folder.attempts()),
                "age": _age(folder),
                "spent": age(used.seconds),
                "rank_hours": round(used.rank_hours, 4),
                "cost": (
                    f"{cost:,.2f} {recipe.compute.currency}"
                    if (cost := used.cost(_price(recipe.compute, folder))) is not None
                    else ""
                ),
                "energy": f"{used.joules / 3.6e6:.3g} kWh" if used.joules is not None else "not measured",
                "progress": _progress(folder),
            }
        )
    show(rows, as_json, empty="no job is running" + ("" if everything else " (finished ones: neo jobs --all)"))


def logs(
    job: JobArgument, follow: Annotated[bool, typer.Option("-f", "--follow", help="go on until the job ends")] = False
) -> None:
    """Print a job's log; of a training run whose job is gone, the log that is kept with what it made."""
    compute = _compute()
    try:
        folder = _find(compute, job)
    except MissingUpstream:
        if (kept := _kept_log(compute, job)) is None:
            raise
        print(kept.read_text(encoding="utf-8"), end="")
        return
    position, told = 0, set[str]()
    while True:
        # The state is read before the log: what a job wrote before it ended is then never missed.
        running = compute.poll(folder) in ALIVE
        if folder.spec().tasks:
            lines = [line for line in story(folder) if line not in told]
            told |= set(lines)
            print("".join(f"{line}\n" for line in lines), end="", flush=True)
        elif folder.log_file.is_file():
            with folder.log_file.open("rb") as stream:
                stream.seek(position)
                text = stream.read()
            position += len(text)
            print(text.decode("utf-8", "replace"), end="", flush=True)
        if not (follow and running):
            return
        time.sleep(FOLLOW_SECONDS)


def watch(job: JobArgument) -> None:
    """A training job's loss, rate and progress, live, until it ends."""
    compute = _compute()
    watch_job(_find(compute, job), compute)


def cancel(
    job: JobArgument,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="also give its finished steps up: the next run may start anew")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Stop a job. What it has saved stays; `neo resume` goes on from there."""
    compute = _compute()
    folder = _find(compute, job)
    compute.cancel(folder)
    if abandon:
        (folder.path / "abandoned").touch()
    state = compute.poll(folder)
    if as_json:
        show([_told(folder, state)], as_json=True)
        return
    given_up = (
        "; its steps are given up: the next run starts anew" if abandon and state is not JobState.SUCCEEDED else ""
    )
    print(
        f"{titled(folder.title)}: job {folder.fingerprint[:12]} "
        + ("had ended already: it succeeded" if state is JobState.SUCCEEDED else f"is {state}{given_up}")
    )


def pause(job: JobArgument, as_json: bool = JSON) -> None:
    """Have a job save where it is and end; `neo resume` lets a training go on from that very step, with the same bits,
    and an evaluation with the next task.
    """
    compute = _compute()
    folder = _find(compute, job)
    state = compute.pause(folder)
    if state is JobState.SUCCEEDED:
        folder.clear_marks()
        folder.withdraw_stop()
    if as_json:
        show([_told(folder, state)], as_json=True)
        return
    stopped = next(
        (
            f" at step {m.data['step']}"
            for m in reversed(folder.messages()[0])
            if m.event == "stopped" and "step" in m.data
        ),
        "",
    )
    print(
        f"{titled(folder.title)}: job {folder.fingerprint[:12]} "
        + (
            "had ended already: it succeeded"
            if state is JobState.SUCCEEDED
            else f"is {state}{stopped}"
            if state is JobState.PAUSED
            else f"is {state}: nothing to pause"
        )
    )


def resume(
    job: JobArgument,
    lost: Annotated[
        bool,
        typer.Option("--lost", help="you know that nothing of it runs any more on the other host where it was started"),
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Let a paused or cancelled job go on from where it saved last."""
    compute = _compute()
    folder = _find(compute, job)
    before = compute.poll(folder)
    if before in (JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED):
        if as_json:
            show([_told(folder, before)], as_json=True)
            return
        print(
            f"{titled(folder.title)}: job {folder.fingerprint[:12]} "
            + ("has succeeded: nothing to resume" if before is JobState.SUCCEEDED else f"is {before} already")
        )
        return
    compute.resume(folder, lost=lost)
    if as_json:
        show([_told(folder, compute.poll(folder))], as_json=True)
        return
    print(
        f"{titled(folder.title)}: job {folder.fingerprint[:12]} is {compute.poll(folder)}. It needs nobody;"
        " whoever asks for what it makes (a Dagster run, `neo eval`) attaches to it and gathers it."
    )


def _told(folder: JobFolder, state: JobState) -> dict[str, object]:
    return {"job": folder.fingerprint, "what": folder.title, "state": str(state), "attempts": len(folder.attempts())}


def _price(compute: Settings, folder: JobFolder) -> float | None:
    """Of an hour of one of a job's ranks, or of one of its processes over files."""
    return compute.data.core_hour_cost if folder.spec().tasks else compute.gpu_hour_cost


def _progress(folder: JobFolder) -> str:
    if folder.spec().tasks:
        told = progress(folder)
        return f"{len(told.done)} of {told.shards} files" + (f", {len(told.failed)} failed" if told.failed else "")
    for message in reversed(folder.messages()[0]):
        data = message.data
        if message.event == "note" and "tasks" in data:  # an evaluation that has just begun, or begun again
            return f"{data['tasks']} tasks"
        if message.event == "stopped":
            return (
                f"saved at step {data['step']}" if "step" in data else f"asked to stop ({str(data['reason']).strip()})"
            )
        if message.event == "progress" and "step" in data:  # training
            left = "" if data["step"] == data["steps"] else f", {real(data['eta_s']):.0f} s left"
            return f"step {data['step']}/{data['steps']}, loss {real(data['loss']):.3f}{left}"
        if message.event == "progress" and "task" in data:  # evaluation
            return f"task {data['done']}/{data['tasks']}, {data['task']}"
    return ""


def _run_of(folder: JobFolder) -> str:
    """The first letters of the training run that a job is, or is about: its checkpoint's name ends with them."""
    return folder.fingerprint[:8] if trained_run(folder.title) else folder.title.rpartition("-")[2]


def _age(folder: JobFolder) -> str:
    attempt = folder.last_attempt()
    return age(time.time() - attempt.started_at) if attempt else ""
