"""`neo jobs`, `neo logs`, `neo watch`, `neo cancel`, `neo pause`, `neo resume`: see, follow and stop jobs. `neo plan`:
what a run would be.
"""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.clean.lists import missing_lists
from neo_assets.core.errors import MissingUpstream
from neo_assets.core.jobs import ALIVE, JobFolder, JobState, age, job_folders
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import MANIFEST, Store
from neo_assets.core.terminal import JSON, counted, show
from neo_assets.core.usage import usage
from neo_assets.crawl.catalogue import missing_places
from neo_assets.runs import run_commands
from neo_assets.runs.asked import asked_runs, not_anothers, note_asked
from neo_assets.runs.job import job_spec, refuse_another_model
from neo_assets.runs.plan import estimate, launch_command
from neo_assets.runs.watch import watch_job
from resources.compute import open_compute
from resources.compute.base import Compute
from resources.compute.kubernetes_manifests import manifests

JobArgument = Annotated[
    str, typer.Argument(help="a run of the recipe (its newest job), or a job's fingerprint or its first letters")
]
FOLLOW_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    for command in (jobs, logs, watch, cancel, pause, resume, plan):
        app.command()(command)
    run_commands.register(app)


def _compute() -> Compute:
    return open_compute(load().compute, store_root())


def _find(compute: Compute, job: str) -> JobFolder:
    """The job a person means: the one that the recipe asked for last of a run of its own, or one by its fingerprint."""
    recipe, store = load(), Store(compute.root)
    if job not in recipe.runs:
        return compute.find(job)
    mine, asked = not_anothers(store, recipe.name, job), asked_runs(store, recipe.name, job)
    there = {
        folder.fingerprint: folder
        for folder in job_folders(store.root)
        if folder.title == f"pretraining/{job}" and mine(folder.fingerprint)
    }
    found = next(
        (there[fingerprint] for fingerprint in reversed(asked) if fingerprint in there),
        next(reversed(there.values()), None),
    )
    if found is None:
        if not asked:
            raise MissingUpstream(f"recipe '{recipe.name}' has not started run '{job}'")
        kept = store.folder(f"pretraining/{job}", asked[-1])
        raise MissingUpstream(
            f"the job of run '{job}' is not in the store any more"
            + (f"; what it made and its log are in {kept}" if (kept / MANIFEST).is_file() else "")
        )
    return found


def _kept_log(compute: Compute, run: str) -> Path | None:
    """The log of a run that this recipe's build holds."""
    recipe, store = load(), Store(compute.root)
    made = store.find(*pointer) if (pointer := store.head_pointer(recipe.name, f"pretraining/{run}")) else None
    return made.file("log.txt") if made else None


def jobs(
    as_json: bool = JSON, everything: Annotated[bool, typer.Option("--all", help="finished ones too")] = False
) -> None:
    """Jobs that run, or went wrong; --all lists finished ones too."""
    recipe, compute = load(), _compute()
    rows = []
    for folder in job_folders(store_root()):
        state = compute.poll(folder)
        if state is JobState.SUCCEEDED and not everything:
            continue
        used = usage(folder)
        rows.append(
            {
                "job": folder.fingerprint[:12],
                "what": folder.title,
                "state": str(state),
                "attempts": len(folder.attempts()),
                "age": _age(folder),
                "spent": age(used.seconds),
                "rank_hours": round(used.rank_hours, 4),
                "cost": (
                    f"{cost:,.2f} {recipe.compute.currency}"
                    if (cost := used.cost(recipe.compute.gpu_hour_cost)) is not None
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
    position = 0
    while True:
        # The state is read before the log: what a job wrote before it ended is then never missed.
        running = compute.poll(folder) in ALIVE
        if folder.log_file.is_file():
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
) -> None:
    """Stop a job. What it has saved stays; `neo resume` goes on from there."""
    compute = _compute()
    folder = _find(compute, job)
    compute.cancel(folder)
    if abandon:
        (folder.path / "abandoned").touch()
    state = compute.poll(folder)
    given_up = (
        "; its steps are given up: the next run starts anew" if abandon and state is not JobState.SUCCEEDED else ""
    )
    print(
        f"{folder.title}: job {folder.fingerprint[:12]} "
        + ("had ended already: it succeeded" if state is JobState.SUCCEEDED else f"is {state}{given_up}")
    )


def pause(job: JobArgument) -> None:
    """Have a job save where it is and end; `neo resume` lets a training go on from that very step, with the same bits,
    and an evaluation with the next task.
    """
    compute = _compute()
    folder = _find(compute, job)
    state = compute.pause(folder)
    if state is JobState.SUCCEEDED:
        folder.clear_marks()
    stopped = next(
        (
            f" at step {m.data['step']}"
            for m in reversed(folder.messages()[0])
            if m.event == "stopped" and "step" in m.data
        ),
        "",
    )
    print(
        f"{folder.title}: job {folder.fingerprint[:12]} "
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
) -> None:
    """Let a paused or cancelled job go on from where it saved last."""
    compute = _compute()
    folder = _find(compute, job)
    before = compute.poll(folder)
    if before in (JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED):
        print(
            f"{folder.title}: job {folder.fingerprint[:12]} "
            + ("has succeeded: nothing to resume" if before is JobState.SUCCEEDED else f"is {before} already")
        )
        return
    compute.resume(folder, lost=lost)
    print(
        f"{folder.title}: job {folder.fingerprint[:12]} is {compute.poll(folder)}. It needs nobody; whoever asks for"
        " what it makes (a Dagster run, `neo eval`) attaches to it and gathers it."
    )


def plan(
    run: Annotated[str | None, typer.Argument(help="a run of the recipe; all of them if left out")] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="print the run's Kubernetes objects, as YAML for `kubectl apply`")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """From the recipe alone: what would be built; parameters, memory, tokens, disk, time, cost; and the command that
    would run.
    """
    recipe = load()
    names = [run] if run else list(recipe.runs)
    for name in names:
        if name not in recipe.runs:
            raise typer.BadParameter(f"recipe '{recipe.name}' has no run '{name}'; it has {', '.join(recipe.runs)}")
        if recipe.runs[name].from_model is not None:
            refuse_another_model(
                name, recipe.runs[name], recipe.tokenizer
            )  # what the program would refuse, before anything is built
    if manifest:
        print_manifests(recipe, names)
        return
    plans = [
        {
            "run": name,
            **estimate(recipe.runs[name], recipe.tokenizer, recipe.compute),
            "command": launch_command(recipe, name),
        }
        for name in names
    ]
    if as_json:
        show([{**p, "artifacts": _artifacts(recipe), "not_here": not_here(recipe)} for p in plans], as_json=True)
        return
    artifacts = _artifacts(recipe)
    print(f"recipe '{recipe.name}': {recipe.description}\n\n{counted(len(artifacts), 'artifact')}, in order:")
    print(textwrap.fill(", ".join(artifacts), 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    for problem in not_here(recipe):
        print(f"\nnot here yet: {problem}")
    for entry in plans:
        print()
        show([{"": name, "value": _value(value)} for name, value in entry.items()], as_json=False)
    if len(plans) > 1:
        sums = {what: sum(float(str(p[what])) for p in plans) for what in ("hours", "bytes of checkpoints")}
        print(
            f"\nall runs: {sums['hours']:,.1f} hours of the whole machine each asks for, one after another;"
            f" {sums['bytes of checkpoints'] / 1e9:,.1f} GB of checkpoints"
        )


def print_manifests(recipe: Recipe, names: list[str]) -> None:
    """The Kubernetes objects of these runs, whose token shards must be there: the job's folder is written, as for any
    backend.
    """
    import yaml

    from neo_assets.build import stages

    store, compute = Store(store_root()), _compute()
    for name in names:
        entry = stages(recipe)[f"pretraining/{name}"]
        inputs = {read: store.head(recipe.name, read) for read in entry.reads}
        spec = job_spec(entry.config, entry.made_from(inputs), inputs, store)  # type: ignore[arg-type]
        note_asked(store, recipe.name, name, spec.work_fingerprint)
        folder = compute.folder(spec.work_fingerprint)
        folder.write_spec(spec)
        folder.freeze()
        last = folder.last_attempt()
        objects = manifests(spec, recipe.compute, last.number + 1 if last else 1)
        print("---\n" + "---\n".join(yaml.safe_dump(m, sort_keys=False) for m in objects), end="")


def not_here(recipe: Recipe) -> list[str]:
    """Folders, files and lists that the recipe names and that are not on this machine."""
    baseline = recipe.evaluation.baseline
    lacks = (
        [f"evaluation.baseline.path: there is no folder {baseline.path}"]
        if baseline and not Path(baseline.path).expanduser().is_dir()
        else []
    )
    return [*missing_places(recipe.sources), *missing_lists(recipe.clean), *lacks]


def _artifacts(recipe: Recipe) -> list[str]:
    from neo_assets.build import stages

    return list(stages(recipe))


def _value(value: object) -> str:
    if isinstance(value, float) and value >= 1e6:
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _progress(folder: JobFolder) -> str:
    for message in reversed(folder.messages()[0]):
        data = message.data
        if message.event == "note" and "tasks" in data:  # an evaluation that has just begun, or begun again
            return f"{data['tasks']} tasks"
        if message.event == "stopped":
            return (
                f"saved at step {data['step']}" if "step" in data else f"asked to stop ({str(data['reason']).strip()})"
            )
        if message.event == "progress" and "step" in data:  # training
            left = "" if data["step"] == data["steps"] else f", {float(str(data['eta_s'])):.0f} s left"
            return f"step {data['step']}/{data['steps']}, loss {float(str(data['loss'])):.3f}{left}"
        if message.event == "progress" and "task" in data:  # evaluation
            return f"task {data['done']}/{data['tasks']}, {data['task']}"
    return ""


def _age(folder: JobFolder) -> str:
    attempt = folder.last_attempt()
    return age(time.time() - attempt.started_at) if attempt else ""
