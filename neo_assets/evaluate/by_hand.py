"""What a person asks for at the command line: a model by its name, today's tasks, and what asks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from neo_assets.core.completion import SUITES
from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.evaluation import CHAT_TASKS
from neo_assets.core.store import Artifact, Store

if TYPE_CHECKING:
    from neo_assets.evaluate.models import Exporter
    from neo_assets.evaluate.score import Scorer, Subject

MODEL = "RUN@STEP (main@70, main@last) or a Hugging Face folder"
SUITE = typer.Option(
    "--suite",
    "-s",
    metavar="SUITE",
    autocompletion=SUITES,
    help="a suite of the recipe; again for more; those the factory asks if left out",
)
SHORT = 12
"""Digits of a task's identity that are shown."""


def known_suites(recipe: Recipe, suites: list[str] | None) -> None:
    for suite in suites or []:
        if suite not in recipe.evaluation.suites:
            raise BadInput(
                f"the recipe has no suite '{suite}'.{did_you_mean(suite, recipe.evaluation.suites)} There are:"
                f" {', '.join(recipe.evaluation.suites)}"
            )


def scorer_of(recipe: Recipe, store: Store, suites: list[str] | None, quiet: bool) -> Scorer:
    from neo_assets.evaluate.score import Scorer, score_input
    from resources.compute import open_compute

    compute = open_compute(recipe.compute, store.root)
    return Scorer(
        store,
        compute,
        score_input(recipe, suites),
        recipe.evaluation.threads,
        todays_tasks(recipe, store),
        (lambda _: None) if quiet else print,
    )


def todays_tasks(recipe: Recipe, store: Store) -> list[Artifact]:
    """Benchmarks as their data are now, and the tasks made of held-out documents and prompts if the recipe's build has
    come so far.
    """
    from neo_assets.evaluate.score import HELDOUT
    from neo_assets.tasks.benchmark_items import current_benchmarks

    made = [pointer for name in (HELDOUT, CHAT_TASKS) if (pointer := store.head_pointer(recipe.name, name))]
    return [current_benchmarks(recipe, store, lambda _: None), *(store.require(*pointer) for pointer in made)]


def exporter_of(recipe: Recipe, store: Store, run: str, log: Callable[[str], None]) -> Exporter:
    """What exports a run's checkpoints outside of Dagster."""
    from neo_assets.evaluate.models import Exporter, export_input
    from resources.compute import open_compute

    jobs, tokenizer = open_compute(recipe.compute, store.root), store.head(recipe.name, "tokenizer")
    return Exporter(store, jobs, recipe.name, export_input(recipe, run), tokenizer, log)


def subject_of(model: str, recipe: Recipe, store: Store, quiet: bool) -> Subject:
    """The model a person names. A checkpoint is exported if it has not been."""
    from neo_assets.evaluate.models import from_elsewhere
    from neo_assets.evaluate.score import Subject
    from neo_assets.runs.found_runs import find_run, run_and_step

    if Path(model).expanduser().is_dir():
        return from_elsewhere(Path(model))
    if "/" in model:
        raise BadInput(
            f"{model} is a file; a model is a Hugging Face folder"
            if Path(model).expanduser().is_file()
            else f"there is no folder {model}"
        )
    run, step = run_and_step(model)
    _, folder = find_run(store, recipe, run).checkpoint(step)
    made = store.require(f"checkpoint/{run}", folder.name)
    exported = exporter_of(recipe, store, run, (lambda _: None) if quiet else print).exported(made)[0]
    return replace(Subject.of(run, made, exported), folder=exported.path)  # read in this process, all of it
