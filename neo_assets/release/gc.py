"""`neo gc`: what nothing in the store can be traced to any more, shown before it is removed.

Nothing young is collected: what was made, or found again, within the grace may be about to be named by a build. A store that cannot be judged
whole is left alone: where a job cannot be asked how it is, or has a specification of another version, removing is refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import ALIVE, JobFolder, JobState, job_folders
from neo_assets.core.locks import collect_lock, held
from neo_assets.core.place import store_root
from neo_assets.core.reach import Place, needed, needed_by, ungathered, unreadable_jobs
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import LOCKS, MANIFEST, PARTIAL, Store
from neo_assets.core.terminal import JSON, counted, show
from resources.compute import open_compute
from resources.compute.base import Compute

DAMAGED = ".damaged-"
"""How the names of checkpoints begin that a run found damaged and set aside."""
GRACE_HOURS = 24.0


@dataclass(frozen=True)
class Collectable:
    """Something that nothing needs: a folder, or a file, below the store."""

    what: str
    name: str
    path: Path

    def size(self) -> int:
        return sum(p.stat().st_size for p in [self.path, *self.path.rglob("*")] if p.is_file())


def gc(
    remove: Annotated[bool, typer.Option("--remove", help="really remove; without it they are only shown")] = False,
    grace: Annotated[float, typer.Option("--grace", min=0, metavar="HOURS", help="what was made or found again within these hours is left alone")] = GRACE_HOURS,
    as_json: bool = JSON,
) -> None:
    """What no build, no job and no run at work can be traced to: artifacts, half-made ones, gathered jobs and what they left. And what removing it frees."""
    recipe, store = load(), Store(store_root())
    compute = open_compute(recipe.compute, store.root)
    found, doubts, kept = collectable(store, recipe, compute, grace * 3600)
    if remove and doubts:
        raise NeoError(f"nothing was removed, because not everything can be judged: {'; '.join(doubts)}")
    rows = []
    for item in found:
        size = item.size()
        removed = remove and _removed(store, item)
        rows.append({"asset": item.what, "fingerprint": item.name[:24], "bytes": size, "removed": removed})
    show(rows, as_json, empty="everything in the store is needed by a build or a job, or was made within the grace")
    if as_json:
        return
    for line in [*(f"not judged: {doubt}" for doubt in doubts), *kept]:
        print(f"\n{line}")
    if rows:
        total = sum(int(str(r["bytes"])) for r in rows)
        print(f"\n{total:,} bytes in {counted(len(rows), 'folder')}" + (" removed" if remove else "; `neo gc --remove` removes them"))


def collectable(store: Store, recipe: Recipe, compute: Compute, grace_s: float) -> tuple[list[Collectable], list[str], list[str]]:
    """What can be removed, what stands against removing anything, and which jobs alone keep something, in words."""
    jobs = list(job_folders(store.root))
    waiting = [folder for folder in jobs if ungathered(store, folder)]
    doubts = [f"{p.relative_to(store.root)} is of another version of NeoFoundry; remove that folder when nobody needs its run any more" for p in unreadable_jobs(store.root)]
    ended, unasked = _ended([f for f in jobs if f.fingerprint not in {w.fingerprint for w in waiting}], compute)
    keep = needed(store, _heads(store, recipe), [*waiting, *(f for f in jobs if f not in waiting and f not in ended)])
    found = [*_artifacts(store, keep), *_halves(store, keep), *_jobs(ended), *_results(store, jobs, ended), *_locks(store), *_proofs(store)]
    reasons = Counter(keep.values())
    kept = [
        f"{counted(n, 'folder')} {'is' if n == 1 else 'are'} kept only for {needed_by(f)}, which has not been gathered; `neo cancel --abandon {f.fingerprint[:12]}` gives it up"
        for f in waiting
        if (n := reasons[needed_by(f)])
    ]
    return [item for item in found if time.time() - _age_of(item.path) > grace_s], doubts + unasked, kept


def _heads(store: Store, recipe: Recipe) -> list[Place]:
    """What builds name. Of this recipe's own, only what it still has: a branch that was taken out of it is nobody's."""
    from neo_assets.release.commands import current_heads

    return [pointer for r in store.recipes() for pointer in (current_heads(recipe, store) if r == recipe.name else store.heads(r)).values()]


def _ended(candidates: list[JobFolder], compute: Compute) -> tuple[list[JobFolder], list[str]]:
    """Which of these jobs have ended, and why that cannot be told of others."""
    ended, doubts = [], []
    for folder in candidates:
        try:
            state = compute.poll(folder)
            if state is JobState.ELSEWHERE:
                doubts.append(f"job {folder.fingerprint[:12]} ({folder.title}) was started on another host and cannot be asked from here")
            elif state not in ALIVE:
                ended.append(folder)
        except NeoError as error:
            doubts.append(f"job {folder.fingerprint[:12]} ({folder.title}) cannot be asked: {error}")
    return ended, doubts


def _age_of(path: Path) -> float:
    """When something was made, changed or found again last."""
    return max(p.stat().st_mtime for p in (path, path / MANIFEST, path / "messages.jsonl", path / "log.txt") if p.exists())


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
            if (key, folder.name) not in keep and not key.startswith("jobs/") and not store.being_written(key, folder.name.removeprefix(PARTIAL)):
                yield Collectable(key, folder.name, folder)


def _jobs(ended: list[JobFolder]) -> Iterator[Collectable]:
    for folder in ended:
        yield Collectable(f"job of {folder.title}", folder.fingerprint, folder.path)


def _results(store: Store, jobs: list[JobFolder], ended: list[JobFolder]) -> Iterator[Collectable]:
    """Folders that evaluations wrote into, when every job that did has been gathered."""
    used = {folder.spec().out for folder in jobs if folder not in ended}
    for folder in sorted((store.root / "scoring").glob("*")):
        if f"scoring/{folder.name}" not in used and not store.being_written("scoring", folder.name):
            yield Collectable("results of evaluations", folder.name, folder)


def _locks(store: Store) -> Iterator[Collectable]:
    for file in sorted((store.root / LOCKS).glob("*")):
        if not held(file):
            yield Collectable("lock", file.name, file)


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
