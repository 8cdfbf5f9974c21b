"""`neo status`: what of a recipe is made, stale, missing or at work, and what asking now would cost."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.jobs import JobState, job_folders
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.stage import Stage
from neo_assets.core.store import Artifact, Store
from neo_assets.core.terminal import JSON, dagster_job, show
from neo_assets.core.trainings import trained_run
from neo_assets.core.why import differences
from neo_assets.core.words import age, counted, size
from neo_assets.runs.plan import estimate

MADE, STALE, BELOW, MISSING, REFUSED, RUNNING = "made", "stale", "below", "missing", "refused", "running"
FOUND = "found"
"""Of an artifact: as it would be made now; made of something else; made, below such a one (and made again only if that
comes out another); not made; refused by a gate; a job of it is at work; made for another recipe, as this one would make
it, and taken over.
"""


NOT_ASKED = "not asked for yet"


@dataclass(frozen=True)
class State:
    """What there is of an artifact. ``because``: why it is not as it would be made now; below another, that one's name.
    ``seconds``: what making it took last, or is estimated to; None: unknown.
    """

    name: str
    group: str
    state: str
    because: str
    seconds: float | None


def status(
    every: Annotated[bool, typer.Option("--all", help="list what is made, too")] = False, as_json: bool = JSON
) -> None:
    """What of this recipe is made, stale (and why), missing, refused or at work, and what asking now would take."""
    from neo_assets.build import stages  # every room, which `neo status --help` should not wait for

    recipe, store = load(), Store(store_root())
    found = states(recipe, store, stages(recipe))
    listed = [s for s in found if every or s.state not in (MADE, FOUND)]
    if as_json:
        show([vars(s) for s in found], as_json=True)
        return
    print(f"recipe '{recipe.name}': {recipe.description}\n")
    if store.remote is not None:
        held, bound = store.remote.room.held(), store.remote.settings.gigabytes
        filled = f"{size(held)} of {size(bound * 1e9)}"
        print(f"store {store.remote.settings.url}; its disk {store.root} holds {filled} of it\n")
    kinds = [k for k in (MADE, FOUND, STALE, BELOW, MISSING, REFUSED, RUNNING) if any(s.state == k for s in found)]
    groups = dict.fromkeys(s.group for s in found)
    counts = {group: Counter(s.state for s in found if s.group == group) for group in groups}
    show([{"group": group, **{kind: counts[group][kind] or None for kind in kinds}} for group in groups], as_json=False)
    if others := Counter(s.because for s in found if s.state == FOUND):
        print("\nfound: " + ", ".join(f"{n} {because}" for because, n in others.items()) + "; a build takes them over")
    alike = [s for s in listed if s.state == MISSING and s.because == NOT_ASKED]
    if told := [s for s in listed if s not in alike]:
        print()
        show([{"asset": s.name, "state": s.state, "because": s.because} for s in told], as_json=False)
    if alike:
        print(f"\n{len(alike)} {NOT_ASKED}:")
        names = ", ".join(s.name for s in alike)
        print(textwrap.fill(names, 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    print(f"\n{_cost(found)}")


def states(recipe: Recipe, store: Store, told: Mapping[str, Stage[Any]]) -> list[State]:
    """Every artifact of a recipe, in the order in which they are made."""
    working = _at_work(recipe, store)
    heads: dict[str, Artifact] = {}
    state: dict[str, State] = {}
    for name, stage in told.items():
        made, damage = _made(recipe, store, name)
        if made:
            heads[name] = made
        found = _judged(stage, made, damage, heads, state)
        # What a build asks for is found, whoever had it made; also where its own is an older one.
        if found[0] == STALE or found == (MISSING, NOT_ASKED):
            other = _elsewhere(recipe, store, stage, heads)
            if other:
                made, found = other[0], (FOUND, f"made for recipe '{other[1]}'")
                heads[name] = made
        if name in working:
            found = (RUNNING, f"job {working[name][:12]}: `neo logs -f {working[name][:12]}`")
        seconds = made.manifest.seconds if made else _estimated(recipe, name) or _took_others(recipe, store, name)
        state[name] = State(name, stage.room, *found, seconds)
    return list(state.values())


def _made(recipe: Recipe, store: Store, name: str) -> tuple[Artifact | None, str]:
    """(what the build uses, what is wrong with it)."""
    pointer = store.head_pointer(recipe.name, name)
    if pointer is None:
        return None, NOT_ASKED
    try:
        made = store.find(*pointer)
    except DamagedArtifact as error:
        return None, str(error)
    at = f"{pointer[0]}/{pointer[1][:12]}… in {store.remote.settings.url}" if store.remote is not None else ""
    return made, "" if made else f"{at or f'its folder {store.folder(*pointer)}'} is gone"


def _elsewhere(
    recipe: Recipe, store: Store, stage: Stage[Any], heads: Mapping[str, Artifact]
) -> tuple[Artifact, str] | None:
    """(what a build of another recipe uses that is made just so, which recipe's). A build that asks finds it."""
    if any(name not in heads for name in stage.reads):
        return None
    inputs = {name: heads[name] for name in stage.reads}
    for other in store.recipes():
        made = _made_for(other, store, stage.name) if other != recipe.name else None
        if (
            made
            and not made.refused_by
            and not differences(made.manifest.made_from, stage.expected(made.manifest.made_from, inputs))
        ):
            return made, other
    return None


def _took_others(recipe: Recipe, store: Store, name: str) -> float | None:
    """Seconds that an artifact of this name took in the build of another recipe; None: none has it."""
    found = (_made_for(other, store, name) for other in store.recipes() if other != recipe.name)
    return next((made.manifest.seconds for made in found if made), None)


def _made_for(recipe: str, store: Store, name: str) -> Artifact | None:
    try:
        pointer = store.head_pointer(recipe, name)
        return store.find(*pointer) if pointer else None
    except DamagedArtifact:
        return None


def _judged(
    stage: Stage[Any],
    made: Artifact | None,
    damage: str,
    heads: Mapping[str, Artifact],
    state: Mapping[str, State],
) -> tuple[str, str]:
    if made is None:
        return MISSING, damage
    if absent := [name for name in stage.reads if name not in heads]:
        return BELOW, absent[0]
    inputs = {name: heads[name] for name in stage.reads}
    if changed := differences(made.manifest.made_from, stage.expected(made.manifest.made_from, inputs)):
        return STALE, changed[0] + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
    if made.refused_by:
        return REFUSED, f"{made.refused_by[0].name}: {made.refused_by[0].detail}"
    if above := next((state[n] for n in stage.reads if state[n].state not in (MADE, FOUND)), None):
        return BELOW, above.because if above.state == BELOW else above.name
    return MADE, ""


def _at_work(recipe: Recipe, store: Store) -> dict[str, str]:
    """Jobs of the recipe's runs that are at work, by the artifact that they make."""
    from neo_assets.runs.asked import asked_runs
    from resources.compute import open_compute

    compute = open_compute(recipe.compute, store.root)
    mine = {recipe.trained(run): asked_runs(store, recipe.name, run) for run in recipe.all_runs}
    return {
        folder.title: folder.fingerprint
        for folder in job_folders(store.root)
        if folder.fingerprint in mine.get(folder.title, ()) and compute.poll(folder) is JobState.RUNNING
    }


def _estimated(recipe: Recipe, name: str) -> float | None:
    run = trained_run(name)
    if run is None or run not in recipe.all_runs:
        return None
    hours = estimate(recipe.all_runs[run], recipe.tokenizer, recipe.compute, recipe.scored(run))["hours"]
    return float(str(hours)) * 3600


def _cost(found: list[State]) -> str:
    """What asking for everything now would take, as far as that is known."""
    again = [s for s in found if s.state in (STALE, MISSING)]
    if not again:
        rest = [s for s in found if s.state in (BELOW, REFUSED)]
        return "Everything is made: asking again makes nothing." if not rest else "Nothing is made again by itself."
    known = [s.seconds for s in again if s.seconds is not None]
    below = sum(s.seconds or 0 for s in found if s.state == BELOW)
    unknown = len(again) - len(known)
    return (
        f"Asking now makes {counted(len(again), 'artifact')}"
        + (f": about {age(sum(known))}" if known else ", and how long they take is not known yet")
        + (f" for {len(known)} of them, by what each took before, or was planned" if known and unknown else "")
        + (f"; up to {age(below)} more for what lies below, where it comes out another" if below else "")
        + f".  {dagster_job('factory')}"
    )
