"""`neo fetch-benchmarks`: benchmarks' data, to where the recipe looks for them; not without a word where that makes a
trained model stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from neo_assets.core.errors import BadInput, NeoError, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.stage import Stage
from neo_assets.core.store import Artifact, Store
from neo_assets.core.trainings import trained_run
from neo_assets.core.words import age, counted


def fetch_benchmarks(
    names: Annotated[
        list[str] | None, typer.Argument(help="benchmarks of the recipe; all that have a url if left out")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="also where text, and models trained on it, are to be made again for it")
    ] = False,
) -> None:
    """Download benchmarks' data to where the recipe looks for them. Nothing else in evaluation uses a network.

    What a model is asked may not stand in what it is trained on: a benchmark that was not here before is looked for in
    the text, which can make what was trained before stale. That is said first, and how to ask without it.
    """
    from neo_assets.tasks.fetch import fetch_benchmark, target

    recipe = load()
    known = recipe.evaluation.benchmarks
    for name in names or []:
        if name not in known:
            raise BadInput(
                f"the recipe has no benchmark '{name}'.{did_you_mean(name, known) or ' There are: ' + ', '.join(known)}"
            )
    wanted = names or [n for n, b in known.items() if b.url]
    if not anyway:
        _refuse_what_makes_stale(recipe, [n for n in wanted if known[n].url and not _is_there(target, known[n])])
    failed = 0
    for name in wanted:
        try:
            place, fetched = fetch_benchmark(name, known[name])
            print(f"{name}: {'fetched into' if fetched else 'already in'} {place}")
        except NeoError as error:
            failed += 1
            print(f"{name}: {error}")
    if failed:
        raise typer.Exit(2)


def _is_there(target: Any, benchmark: Any) -> bool:
    try:
        return bool(target(benchmark).exists())
    except BadInput:  # comes with a package, or is fetched some other way
        return True


@dataclass(frozen=True)
class Stale:
    """What of a build is made from a stage, directly or not."""

    artifacts: list[Artifact]

    @property
    def runs(self) -> list[str]:
        return [run for a in self.artifacts if (run := trained_run(a.key))]

    @property
    def seconds(self) -> float:
        return sum(a.manifest.seconds for a in self.artifacts)


def made_from(recipe: Recipe, store: Store, told: Mapping[str, Stage[Any]], roots: Iterable[str]) -> Stale:
    """What this build holds that would be made again if these stages came out another."""
    below = set(roots)
    for name, stage in told.items():  # each after those that it reads
        if below & set(stage.reads):
            below.add(name)
    pointers = [pointer for name in told if name in below and (pointer := store.head_pointer(recipe.name, name))]
    return Stale([made for pointer in pointers if (made := store.find(*pointer))])


def _refuse_what_makes_stale(recipe: Recipe, new: list[str]) -> None:
    from neo_assets.build import stages

    known = recipe.evaluation.benchmarks
    looked_for = [n for n in new if known[n].decontaminate and known[n].lang in recipe.languages]
    if not looked_for:
        return
    told = stages(recipe)
    roots = [name for name in told if name.startswith("decontaminated/")]
    stale = made_from(recipe, Store(store_root()), told, roots)
    if not stale.runs:
        return
    raise BadInput(
        f"{', '.join(looked_for)} {'is' if len(looked_for) == 1 else 'are'} looked for in the training text: if a"
        f" document goes for that, up to {counted(len(stale.artifacts), 'artifact')} of this build are made again, the"
        f" trained {'run' if len(stale.runs) == 1 else 'runs'} {', '.join(stale.runs)} among them; they took"
        f" {age(stale.seconds)}. To ask without that, set `decontaminate: false` at"
        f" evaluation.benchmarks.{looked_for[0]} in the recipe: scores are then told without the items that the"
        " training text holds (the gate `no_contamination`). --anyway fetches as the recipe is."
    )
