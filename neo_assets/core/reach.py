"""What is still needed of a store: everything that a build, a job that is not gathered yet, or a stage at work can be
traced to.

From the artifacts that builds name, inputs are followed back to the crawl. A training run brings its checkpoints with
it; one that is reached only because something started from a checkpoint of it, keeps that checkpoint and what tells its
story. A job counts until what it makes is in the store, whatever its state: running, waiting, paused, cancelled,
failed, lost, or never started. Somebody may go on with it; who will not, gives it up (`neo cancel --abandon`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.jobs import JobFolder
from neo_assets.core.remote import remote_of
from neo_assets.core.store import MANIFEST, Store, read_manifest
from neo_assets.core.sweeping import pin
from neo_assets.core.trainings import trained_run

Place = tuple[str, str]
"""Key of an artifact and name of its folder."""


def ungathered(store: Store, folder: JobFolder) -> bool:
    """Whether a job still stands for something: what it is to make is not all there, and nobody has given it up."""
    made = [store.root / place for place in folder.spec().makes]
    return not (folder.path / "abandoned").exists() and not (
        made and all((p / MANIFEST).is_file() or p.is_file() for p in made)
    )


def needed(store: Store, heads: Iterable[Place], jobs: Iterable[JobFolder]) -> dict[Place, str]:
    """Every artifact that is needed, with what needs it. ``jobs`` are those that are not gathered."""
    store.learn(strict=True)  # what is not on this disk was made from something, too
    found: dict[Place, str] = {}
    waiting = deque((place, "a build", True) for place in heads)
    waiting += [(place, f"a stage at work on {name}", False) for name, inputs in store.at_work() for place in inputs]
    for job in jobs:
        waiting += [(place, needed_by(job), False) for place in _of_job(store, job)]
    whole: set[Place] = set()
    while waiting:
        place, why, with_checkpoints = waiting.popleft()
        if with_checkpoints and place not in whole and trained_run(place[0]):
            whole.add(place)
            waiting += [
                (checkpoint, f"run {place[0].partition('/')[2]}", False) for checkpoint in checkpoints_of(store, place)
            ]
        if place in found:
            continue
        found[place] = why
        waiting += [(before, f"{place[0]} {place[1][:12]}", False) for before in _inputs(store, place)]
    return found


def needed_by(job: JobFolder) -> str:
    return f"job {job.fingerprint[:12]}, {job.title}"


def checkpoints_of(store: Store, run: Place) -> list[Place]:
    """Checkpoints of a training run, by the run's own fingerprint; half written and damaged ones too."""
    key = f"checkpoint/{run[0].partition('/')[2]}"
    store.learn(key)
    return [(key, p.name) for p in sorted((store.root / key).glob(f"*-{run[1][:8]}"))]


def _inputs(store: Store, place: Place) -> list[Place]:
    try:
        manifest = read_manifest(store.folder(*place))
    except (OSError, DamagedArtifact):
        return []  # a damaged manifest hides what it was made from; what it is itself, stays
    return [(name, ref.fingerprint) for name, ref in manifest.made_from.inputs.items()]


def read_by(root: Path, job: JobFolder) -> list[Place]:
    """What a job reads, and what it starts from."""
    return [place for path in _named(job) if (place := _artifact_at(root, path))]


def _named(job: JobFolder) -> list[str]:
    spec = job.spec()
    start = spec.config.get("start")
    return [*spec.inputs.values(), *([str(start["folder"])] if isinstance(start, dict) else [])]


def bring_inputs(root: Path, job: JobFolder) -> None:
    """Have all that a job reads on this disk, before it starts, and other disks know of it. Of its own checkpoints,
    only what tells of them: it brings the one that it goes on from.
    """
    if (remote := remote_of(root)) is None:
        return
    for path in _named(job):
        if _artifact_at(root, path) is None and (root / path).is_relative_to(root):
            for place in _may_be(path):
                if remote.bring(*place):
                    break
    spec, reads = job.spec(), read_by(root, job)
    for key, fingerprint in reads:
        folder = root / key / fingerprint
        remote.fetch_all(folder, read_manifest(folder).files)
    if spec.out.startswith("checkpoint/"):
        remote.sync(spec.out)
    if reads:
        pin(remote, spec.work_fingerprint, spec.title, reads, spec.makes)


def _of_job(store: Store, job: JobFolder) -> list[Place]:
    """What a job reads, what it starts from, and the checkpoints it has written."""
    spec, out = job.spec(), read_by(store.root, job)
    if spec.tasks:  # the artifact that is being made, even where nobody follows the job
        key, _, name = spec.out.rpartition("/")
        out.append((key, name))
    return out + (checkpoints_of(store, (spec.title, spec.work_fingerprint)) if trained_run(spec.title) else [])


def _artifact_at(root: Path, written: str) -> Place | None:
    """The artifact that a path in the store is, or lies in."""
    path = root / written
    for folder in (path, *path.parents):
        if folder == root or not folder.is_relative_to(root):
            return None
        if (folder / MANIFEST).is_file():
            return folder.parent.relative_to(root).as_posix(), folder.name
    return None


def _may_be(written: str) -> Iterator[Place]:
    """The artifacts that a relative path may be, or lie in, the deepest first."""
    parts = Path(written).parts
    return (("/".join(parts[:n]), parts[n]) for n in range(len(parts) - 1, 0, -1))


def unreadable_jobs(root: Path) -> list[Path]:
    """Job folders whose specification this version cannot read: what they need cannot be told."""
    return [p.parent for p in sorted((root / "jobs").glob("*/spec.json")) if not JobFolder(p.parent).of_today()]
