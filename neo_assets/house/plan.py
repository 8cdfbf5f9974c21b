"""`neo plan`: what a recipe would build, and what each run would cost, before anything is spent."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from neo_assets.align.round_cost import round_cost
from neo_assets.align.sets import missing_sets
from neo_assets.clean.lists import missing_lists
from neo_assets.core.completion import RUNS
from neo_assets.core.errors import BadInput
from neo_assets.core.place import recipe_path, store_root
from neo_assets.core.recipe import Recipe, load, written_at
from neo_assets.core.scalars import real
from neo_assets.core.stage import Need, Stage
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import age, counted, size, spoken
from neo_assets.crawl.catalogue import missing_places
from neo_assets.house.data_plan import data_plan, told
from neo_assets.house.foreseen import refusals
from neo_assets.house.job_script import print_jobs
from neo_assets.house.status import BELOW, FOUND, MADE, MISSING, REFUSED, RUNNING, STALE, State, states
from neo_assets.runs.job import refuse_another_model
from neo_assets.runs.plan import ASSUMED_FLOPS, GIB, estimate
from neo_assets.runs.proposal import Asked, as_recipe, propose
from neo_assets.scaling.readings import TOTAL
from resources.compute import open_compute

MARKS = {MADE: "✓", FOUND: "=", STALE: "~", BELOW: "~", MISSING: "·", REFUSED: "!", RUNNING: "▸"}
WORDS = {
    MADE: "made",
    FOUND: "found as another recipe's build made it",
    STALE: "stale",
    BELOW: "below what is stale",
    MISSING: "to be made",
    REFUSED: "refused by a gate",
    RUNNING: "at work",
}


def plan(
    run: Annotated[
        str | None, typer.Argument(help="a run of the recipe; all of them if left out", autocompletion=RUNS)
    ] = None,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest", help="print what the scheduler is given: a batch script for Slurm, YAML for `kubectl apply`"
        ),
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="core hours, memory and disk of every step of the data half")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(help="FLOPs (6ND): the best model and amount of tokens for them, by the recipe's scaling_fit"),
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="propose a run for so many GPUs, with --hours")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="of these GPUs")] = None,
    gib: Annotated[float, typer.Option(min=1.0, help="memory of such a GPU, GiB")] = 80.0,
    tflops: Annotated[
        float, typer.Option(min=0.001, help="TFLOP/s that such a GPU sustains in training; an H800 in the paper: 337")
    ] = ASSUMED_FLOPS["gpu"] / 1e12,
    disk: Annotated[float | None, typer.Option(min=0.0, help="GB for checkpoints of the proposed run")] = None,
    as_json: bool = JSON,
) -> None:
    """From the recipe alone: what would be built; parameters, memory, tokens, disk, time, cost; and the command that
    would run.
    """
    recipe = load()
    if data:
        _data(recipe, as_json)
        return
    if budget is not None:
        _best(recipe, budget, as_json)
        return
    if gpus is not None or hours is not None:
        if gpus is None or not hours:
            raise BadInput("--gpus and --hours go together: a number of GPUs, and for how many hours")
        room = None if disk is None else disk * 1e9
        _propose(recipe, run, Asked(gpus, hours, tflops * 1e12, gib * GIB, room), as_json)
        return
    names = [run] if run else list(recipe.all_runs)
    for name in names:
        if name not in recipe.all_runs:
            raise typer.BadParameter(f"recipe '{recipe.name}' has no run '{name}'; it has {', '.join(recipe.all_runs)}")
        if recipe.all_runs[name].from_model is not None:
            # What the program would refuse, before anything is built.
            refuse_another_model(name, recipe.all_runs[name], recipe.tokenizer)
    if manifest:
        print_jobs(recipe, _stages(recipe), Store(store_root()), names)
        return
    compute = open_compute(recipe.compute, store_root())
    plans = [
        {
            "run": name,
            **estimate(recipe.all_runs[name], recipe.tokenizer, recipe.compute, recipe.scored(name)),
            **round_cost(recipe, Store(store_root()), name),
            "command": compute.launch_command(name, recipe.all_runs[name]),
        }
        for name in names
    ]
    planned, store, where = _stages(recipe), Store(store_root()), written_at()
    found = states(recipe, store, planned)
    lacking = [_at_line(problem, where) for problem in not_here(recipe, planned.values())]
    refused = refusals(recipe, store, where)
    if as_json:
        artifacts = {s.name: s.state for s in found}
        shared = {"artifacts": list(artifacts), "states": artifacts, "not_here": lacking, "refused": refused}
        show([{**p, **shared} for p in plans], as_json=True)
        if refused:
            raise typer.Exit(2)
        return
    _print(recipe, plans, found, lacking)
    if refused:
        print("\nThe build would stop:\n" + "\n".join(f"  {problem}" for problem in refused))
        raise typer.Exit(2)


def _print(
    recipe: Recipe, plans: Sequence[Mapping[str, object]], found: Sequence[State], lacking: Sequence[str]
) -> None:
    """What would be built, each artifact marked; what is not here yet; and what each run would be."""
    print(f"recipe '{recipe.name}': {recipe.description}\n\n{counted(len(found), 'artifact')}, in order:")
    counts = Counter(s.state for s in found)
    marks = MARKS if len(counts) > 1 else dict.fromkeys(MARKS, "")
    marked = ", ".join(f"{marks[s.state]}{s.name}" for s in found)
    print(textwrap.fill(marked, 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    told = "; ".join(f"{marks[k]} {n} {WORDS[k]}".strip() for k, n in counts.items())
    print(f"  {told}" + ("" if counts.keys() <= {MADE, FOUND, MISSING} else ". `neo status` says why"))
    if lacking:
        print("\nnot here yet:\n" + "\n".join(f"  {problem.partition('. ')[0]}" for problem in lacking))
    for entry in plans:
        print()
        show([{"": name, "value": value} for name, value in _in_words(entry).items()], as_json=False)
    if len(plans) > 1:
        sums = {what: sum(real(p[what]) for p in plans) for what in ("hours", "bytes of checkpoints")}
        print(
            f"\nall runs: {_time(sums['hours'])} of the whole machine each asks for, one after another;"
            f" {size(sums['bytes of checkpoints'])} of checkpoints"
        )


def _data(recipe: Recipe, as_json: bool) -> None:
    """`neo plan --data`."""
    rows, unknown = data_plan(recipe, Store(store_root()), _stages(recipe))
    show(rows, as_json, empty="nothing can be foreseen of the data half")
    if not as_json:
        print("\n" + "\n".join([*told(recipe, rows), *unknown]))


def _propose(recipe: Recipe, run: str | None, asked: Asked, as_json: bool) -> None:
    """`neo plan --gpus --hours`. Raises BadInput."""
    name = run or next(iter(recipe.runs))
    if name not in recipe.runs:
        raise BadInput(f"recipe '{recipe.name}' has no run '{name}'; it has {', '.join(recipe.runs)}")
    base = recipe.runs[name]
    proposed, rows = propose(_by_own_law(recipe, asked), base, recipe.tokenizer)
    if as_json:
        show([{str(row["what"]): row["value"] for row in rows} | {"run": proposed.model_dump(mode="json")}], True)
        return
    show(rows, as_json=False)
    print(f"\nIn a recipe that extends '{recipe.name}' (none of it was tried on such GPUs):\n")
    print(as_recipe(name, proposed, base))


def _by_own_law(recipe: Recipe, asked: Asked) -> Asked:
    """With the size that the recipe's own law has for the budget, where it was fitted to models of that size."""
    from neo_assets.scaling.fit import best_at, read_fit

    pointer = Store(store_root()).head_pointer(recipe.name, "scaling_fit") if recipe.scaling else None
    made = Store(store_root()).find(*pointer) if pointer else None
    if made is None:
        return asked
    fitted, readings, told = read_fit(made)
    row = best_at(fitted, readings, told["count"], asked.gpus * asked.hours * 3600 * asked.rate)
    if row["beyond what was fitted"]:
        return asked
    total = told["count"] == TOTAL
    size = row["parameters with embeddings" if total else "parameters without embeddings"]
    return replace(asked, parameters=real(size), embeddings_count=total)


def _best(recipe: Recipe, flops: float, as_json: bool) -> None:
    """`neo plan --budget`: N and D with the least foretold loss. Raises BadInput, MissingUpstream."""
    from neo_assets.scaling.fit import best_at, read_fit

    if recipe.scaling is None:
        raise BadInput(
            f"recipe '{recipe.name}' has no scaling series, whose laws say what a budget buys (docs/scaling.md)"
        )
    if not 0 < flops < math.inf:
        raise BadInput(f"--budget {flops:g}: a number of FLOPs above 0, e.g. 1e13")
    fitted, readings, told = read_fit(Store(store_root()).head(recipe.name, "scaling_fit"))
    row = best_at(fitted, readings, told["count"], flops)
    show([row], as_json)
    if not as_json:
        made = next(s for s in states(recipe, Store(store_root()), _stages(recipe)) if s.name == "scaling_fit")
        if made.state != MADE:
            print(f"\nscaling_fit is {WORDS[made.state]} ({made.because}): these numbers are of the one that is there.")
        print(f"\nBy the law '{told['law']}' through {counted(len(readings), 'reading')}.")
        if beyond := row["beyond what was fitted"]:
            print(f"Beyond what was fitted ({beyond}): a guess, not a forecast.")


def _in_words(entry: Mapping[str, object]) -> dict[str, str]:
    """What a run will be as a person reads it: times and sizes with their units."""
    out = {}
    for name, value in entry.items():
        if name == "hours":
            out["time"] = _time(real(value))
        elif name.startswith("bytes "):
            out[name.removeprefix("bytes ").removeprefix("of ")] = size(real(value))
        elif name != "days":
            out[name] = spoken(value)
    # "checkpoints" is both how many there are and how large they are together
    stay = entry.get("checkpoints that stay whole")
    told = spoken(entry["checkpoints"]) + (f", {spoken(stay)} stay whole" if stay is not None else "")
    return {**out, "checkpoints": f"{told}, {size(real(entry['bytes of checkpoints']))}"}


def _time(hours: float) -> str:
    return age(3600 * hours) + (f" ({hours / 24:,.0f} days)" if hours >= 48 else "")


def _at_line(problem: str, where: Callable[[str], str]) -> str:
    """The problem with the line of the recipe's field that it begins with, if it begins with one."""
    field = problem.partition(":")[0]
    return f"{where(field)}: {problem}" if re.fullmatch(r"\w+(\.\w+)+", field) else problem


def not_here(recipe: Recipe, told: Iterable[Stage[Any]]) -> list[str]:
    """Folders, files, lists and packages that the recipe asks for and that are not on this machine."""
    baseline = recipe.evaluation.baseline
    lacks = (
        [f"evaluation.baseline.path: there is no folder {baseline.path}"]
        if baseline and not recipe_path(baseline.path).is_dir()
        else []
    )
    lacking: dict[Need, list[str]] = defaultdict(list)
    for stage in told:
        for need in stage.needs:
            if not need.here:
                lacking[need].append(stage.name)
    lacks += [
        f"{', '.join(names)}: the module {need.module}; pip install -e '.[{need.extra}]' brings it"
        for need, names in lacking.items()
    ]
    return [*missing_places(recipe.sources), *missing_sets(recipe.align), *missing_lists(recipe.clean), *lacks]


def _stages(recipe: Recipe) -> dict[str, Stage[Any]]:
    from neo_assets.build import stages  # every room, which `neo plan --help` should not wait for

    return stages(recipe)
