"""`neo gc`: what nothing in the store can be traced to any more, shown before it is removed.

Nothing young is collected: what was made, or found again, within the grace may be about to be named by a build. A store
that cannot be judged whole is left alone: where a job cannot be asked how it is, or has a specification of another
version, removing is refused.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.errors import NeoError
from neo_assets.core.frozen import CODE, COPIES
from neo_assets.core.jobs import ALIVE, JobFolder, JobState, job_folders
from neo_assets.core.locks import collect_lock, held
from neo_assets.core.place import store_root
from neo_assets.core.reach import Place, needed, needed_by, ungathered, unreadable_jobs
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.load import RECIPES
from neo_assets.core.scalars import whole
from neo_assets.core.store import LOCKS, MANIFEST, PARTIAL, Row, Store
from neo_assets.core.sweeping import sweep
from neo_assets.core.terminal import JSON, show
from neo_assets.core.trainings import trained_run
from neo_assets.core.words import counted
from neo_assets.runs.asked import note_asked
from resources.compute import open_compute
from resources.compute.base import Compute

DAMAGED = ".damaged-"
"""How the names of checkpoints begin that a run found damaged and set aside."""
GRACE_HOURS = 24.0
LOCK = "lock"
SWEPT = "objects of no commit"


@dataclass(frozen=True)
class Collectable:
    """Something that nothing needs: a folder, or a file, below the store."""

    what: str
    name: str
    path: Path


def freed(items: Sequence[Collectable]) -> list[int]:
    """Bytes that go with each of these, when all go. A file with several names is there as long as one of them is: it
    counts with the first item that has it, if all its names go.
    """
    names: Counter[tuple[int, int]] = Counter()
    held = [[p.stat() for p in [item.path, *item.path.rglob("*")] if p.is_file()] for item in items]
    for facts in itertools.chain.from_iterable(held):
        names[facts.st_dev, facts.st_ino] += 1
    out, counted_already = [], set[tuple[int, int]]()
    for mine in held:
        size = 0
        for facts in mine:
            file = (facts.st_dev, facts.st_ino)
            if file not in counted_already and names[file] >= facts.st_nlink:
                size += facts.st_size
                counted_already.add(file)
        out.append(size)
    return out


def gc(
    remove: Annotated[bool, typer.Option("--remove", help="really remove; without it they are only shown")] = False,
    grace: Annotated[
        float,
        typer.Option(
            "--grace", min=0, metavar="HOURS", help="what was made or found again within these hours is left alone"
        ),
    ] = GRACE_HOURS,
    forgotten: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="RECIPE", help="also let go of this recipe's build; again for more"),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """What no build, no job and no run at work can be traced to: artifacts, half-made ones, jobs and what they left.

    A training run's job (its log, its code, what it cost) stays with the run;
    other jobs go when what they made is in the store.
    """
    recipe, store = load(), Store(store_root())
    without = forgotten or []
    _refuse_to_forget(store, recipe, without)
    compute = open_compute(recipe.compute, store.root)
    everything, doubts, kept = collectable(store, recipe, compute, without)
    if remove and doubts:
        raise NeoError(f"nothing was removed, because not everything can be judged: {'; '.join(doubts)}")
    found, young = older_than(everything, grace * 3600)
    rows: list[Row] = []
    for item, size in zip(found, freed(found), strict=True):
        rows.append(
            {
                "asset": item.what,
                "fingerprint": item.name[:24],
                "bytes": size,
                "removed": remove and _removed(store, item),
            }
        )
    if remove:
        for name in without:
            _forget(store, name)
    swept = sweep(store.remote, grace * 3600, remove) if store.remote is not None else (0, 0)
    if store.remote is not None and swept[0]:
        rows.append({"asset": SWEPT, "fingerprint": f"{swept[0]} objects", "bytes": swept[1], "removed": remove})
    if as_json:
        show(rows, as_json)
        return
    _tell(rows, remove)
    for line in [
        *(f"not judged: {doubt}" for doubt in doubts),
        *kept,
        *_left_alone(young, grace),
        *_without_a_recipe(store, recipe, without),
    ]:
        print(f"\n{line}")
    if rows:
        total = sum(whole(r["bytes"]) for r in rows)
        again = ["--remove", *(f"--forget {name}" for name in without)]
        again += [f"--grace {grace:g}"] if grace != GRACE_HOURS else []
        print(
            f"\n{total:,} bytes in {counted(len(rows), 'folder or file')}"
            + (" removed" if remove else f"; `neo gc {' '.join(again)}` removes them")
        )


def _refuse_to_forget(store: Store, recipe: Recipe, names: Collection[str]) -> None:
    """Raises NeoError for the recipe in use, and for one that the store has no build of."""
    for name in names:
        if name == recipe.name:
            raise NeoError(f"--forget {name}: that is the recipe in use")
        if name not in store.recipes():
            raise NeoError(f"--forget {name}: the store has no build of it; it has: {', '.join(store.recipes())}")


def _tell(rows: list[Row], remove: bool) -> None:
    """The table for a person: locks in one line."""
    locks = [r for r in rows if r["asset"] == LOCK]
    shown = [r for r in rows if r["asset"] != LOCK]
    if locks:
        size = sum(whole(r["bytes"]) for r in locks)
        shown.append(locks[0] | {"fingerprint": f"{len(locks)} files", "bytes": size})
    columns = [n for n in ("asset", "fingerprint", "bytes", "removed") if remove or n != "removed"]
    empty = "nothing to remove: everything else is needed by a build or a job"
    show([{n: r[n] for n in columns} for r in shown], False, empty=empty)


def older_than(items: list[Collectable], grace_s: float) -> tuple[list[Collectable], list[Collectable]]:
    """(what was made or found again longer ago than the grace, the others)."""
    now = time.time()
    old: list[Collectable] = []
    young: list[Collectable] = []
    for item in items:
        (old if now - _age_of(item.path) > grace_s else young).append(item)
    return old, young


def _forget(store: Store, recipe: str) -> None:
    """Remove a recipe's build. Its runs stay noted as its own: nobody else's commands shall mean them."""
    for name, (_, fingerprint) in store.heads(recipe).items():
        if run := trained_run(name):
            note_asked(store, recipe, run, fingerprint)
    store.remove(store.root / "builds" / recipe)


def _left_alone(young: list[Collectable], grace: float) -> list[str]:
    size = sum(freed(young))
    return (
        [
            f"{size:,} bytes in {counted(len(young), 'folder or file')} that nothing needs were made or found again"
            f" within the last {grace:g} hours; --grace HOURS changes that"
        ]
        if young
        else []
    )


def _without_a_recipe(store: Store, recipe: Recipe, forgotten: list[str]) -> list[str]:
    """Builds whose recipe lies elsewhere, or nowhere any more."""
    here = {p.stem.replace("-", "_") for p in RECIPES.glob("*.yaml")} | {recipe.name, *forgotten}
    lost = [name for name in store.recipes() if name not in here]
    return (
        [
            f"builds of recipes that are not in recipes/ are kept, too: {', '.join(lost)}; `neo gc --forget {lost[0]}`"
            " lets go of one"
        ]
        if lost
        else []
    )


def collectable(
    store: Store, recipe: Recipe, compute: Compute, forgotten: Collection[str] = ()
) -> tuple[list[Collectable], list[str], list[str]]:
    """What can be removed, whatever its age; what stands against removing anything; and which jobs alone keep
    something, in words.
    """
    jobs = list(job_folders(store.root))
    waiting = [folder for folder in jobs if ungathered(store, folder)]
    doubts = [
        f"{p.relative_to(store.root)} is of another version of NeoFoundry; remove that folder when nobody needs its run"
        " any more"
        for p in unreadable_jobs(store.root)
    ]
    ended, unasked = _ended([f for f in jobs if f.fingerprint not in {w.fingerprint for w in waiting}], compute)
    keep = needed(
        store, _heads(store, recipe, forgotten), [*waiting, *(f for f in jobs if f not in waiting and f not in ended)]
    )
    found = [
        *_artifacts(store, keep),
        *_halves(store, keep),
        *_jobs(ended, keep),
        *_results(store, jobs, ended),
        *_copies(store, [f for f in jobs if f not in ended]),
        *_locks(store),
        *_proofs(store),
    ]
    reasons = Counter(keep.values())
    kept = [
        f"{counted(n, 'folder')} {'is' if n == 1 else 'are'} kept only for {needed_by(f)}, which has not been gathered;"
        f" `neo cancel --abandon {f.fingerprint[:12]}` gives it up"
        for f in waiting
        if (n := reasons[needed_by(f)])
    ]
    return found, doubts + unasked, kept


def _heads(store: Store, recipe: Recipe, forgotten: Collection[str]) -> list[Place]:
    """What builds name. Of this recipe's own, only what it still has: a branch that was taken out of it is nobody's."""
    from neo_assets.house.heads import current_heads

    return [
        pointer
        for r in store.recipes()
        if r not in forgotten
        for pointer in (current_heads(recipe, store) if r == recipe.name else store.heads(r)).values()
    ]


def _ended(candidates: list[JobFolder], compute: Compute) -> tuple[list[JobFolder], list[str]]:
    """Which of these jobs have ended, and why that cannot be told of others."""
    ended, doubts = [], []
    for folder in candidates:
        try:
            state = compute.poll(folder)
            if state is JobState.ELSEWHERE:
                doubts.append(
                    f"job {folder.fingerprint[:12]} ({folder.title}) was started on another host and cannot be asked"
                    " from here"
                )
            elif state not in ALIVE:
                ended.append(folder)
        except NeoError as error:
            doubts.append(f"job {folder.fingerprint[:12]} ({folder.title}) cannot be asked: {error}")
    return ended, doubts


def _age_of(path: Path) -> float:
    """When something was made, changed or found again last."""
    return max(
        p.stat().st_mtime for p in (path, path / MANIFEST, path / "messages.jsonl", path / "log.txt") if p.exists()
    )


def _artifacts(store: Store, keep: dict[Place, str]) -> Iterator[Collectable]:
    for key, name, folder in store.all():
        # Scores are small, dear, and what curves over a task's identities are drawn from: they are never thrown away.
        if (key, name) not in keep and not key.startswith("eval_scores/"):
            yield Collectable(key, name, folder)


def _halves(store: Store, keep: dict[Place, str]) -> Iterator[Collectable]:
    """Work that nobody goes on with, and checkpoints that were set aside."""
    for prefix in (PARTIAL, DAMAGED):
        for folder in sorted(store.root.rglob(f"{prefix}*")):
            key = folder.parent.relative_to(store.root).as_posix()
            if (
                (key, folder.name) not in keep
                and not key.startswith("jobs/")
                and not store.being_written(key, folder.name.removeprefix(PARTIAL))
            ):
                yield Collectable(key, folder.name, folder)


def _jobs(ended: list[JobFolder], keep: dict[Place, str]) -> Iterator[Collectable]:
    for folder in ended:
        if (folder.title, folder.fingerprint) in keep:  # a training run that is needed: its log and what it cost
            continue
        yield Collectable(f"job of {folder.title}", folder.fingerprint, folder.path)


def _results(store: Store, jobs: list[JobFolder], ended: list[JobFolder]) -> Iterator[Collectable]:
    """Folders that evaluations wrote into, when every job that did has been gathered."""
    used = {folder.spec().out for folder in jobs if folder not in ended}
    for folder in sorted((store.root / "scoring").glob("*")):
        if f"scoring/{folder.name}" not in used and not store.being_written("scoring", folder.name):
            yield Collectable("results of evaluations", folder.name, folder)


def _copies(store: Store, jobs: list[JobFolder]) -> Iterator[Collectable]:
    """Copies of our code that jobs over files ran from, when no job that may go on has one."""
    used = {(folder.path / CODE).resolve() for folder in jobs}
    for copy in sorted((store.root / COPIES).glob("*")):
        if copy.resolve() not in used:
            yield Collectable("copy of the code", copy.name, copy)


def _locks(store: Store) -> Iterator[Collectable]:
    for file in sorted((store.root / LOCKS).glob("*")):
        if not held(file):
            yield Collectable(LOCK, file.name, file)


def _proofs(store: Store) -> Iterator[Collectable]:
    """Records of proofs of checkpoints that are gone."""
    for file in sorted((store.root / "proofs").glob("*/*.json")):
        if not (store.root / "checkpoint" / file.parent.name / file.stem).is_dir():
            yield Collectable("proof", file.stem, file)


def _removed(store: Store, item: Collectable) -> bool:
    if item.path.parent == store.root / LOCKS:
        return collect_lock(item.path)
    store.remove(item.path)
    return True
