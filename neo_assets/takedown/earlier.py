"""What else of a store still has a withdrawn document: checkpoints of runs as they were before, and exports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from neo_assets.core.errors import NeoError
from neo_assets.core.store import MANIFEST, Store, read_manifest
from neo_assets.runs.found_runs import FoundRun, parts_behind, run_of


@dataclass(frozen=True)
class Earlier:
    """A run that no build holds any more: ``first``, the step from which on it has them; ``checkpoints`` from there on;
    ``unknown``: its specification is gone, so that nobody can tell.
    """

    run: str
    fingerprint: str
    first: int | None
    checkpoints: list[int]
    unknown: bool = False


def earlier_runs(store: Store, ids: Sequence[str], held: Collection[str]) -> list[Earlier]:
    """Runs with checkpoints in the store, other than those ``held`` (beginnings of their fingerprints), that read one
    of these documents, or began with what had.
    """
    steps: dict[tuple[str, str], list[int]] = defaultdict(list)
    for manifest in sorted((store.root / "checkpoint").glob(f"*/[0-9]*/{MANIFEST}")):
        step, _, fingerprint = manifest.parent.name.partition("-")
        if fingerprint not in held:
            steps[manifest.parent.parent.name, fingerprint].append(int(step))
    found = []
    for (run, fingerprint), there in steps.items():
        try:
            first = _first(store, run_of(store, run, fingerprint), max(there), ids) if ids else None
        except NeoError:  # its job, or what it read, is not here any more
            found.append(Earlier(run, fingerprint, None, there, unknown=True))
            continue
        if first is not None:
            found.append(Earlier(run, fingerprint, first, [step for step in there if step >= first]))
    return found


def _first(store: Store, run: FoundRun, last: int, ids: Sequence[str]) -> int | None:
    """The first step of a run whose checkpoint has them: its first one where it began with weights that had."""
    first: int | None = None
    for part, begin, end in parts_behind(store, run, last):
        read = part.ledger().when(ids, end).column("step").to_pylist() if end > begin else []
        read = [step for step in read if begin < step <= end]
        if read:
            first = min(read) if part.name == run.name and _one_run(run, part) else run.config.first_step
    return first


def _one_run(run: FoundRun, part: FoundRun) -> bool:
    """Whether a part's steps count from the same beginning as the run's: it is the run, or what that goes on from."""
    start = run.config.start
    return part.config.run_fingerprint == run.config.run_fingerprint or (
        start is not None and start.take == "everything"
    )


def exports_of(store: Store, checkpoints: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Exports of these checkpoints: by run, the fingerprints of its folders. ``checkpoints``: names by run."""
    found: dict[str, list[str]] = {}
    for run, names in checkpoints.items():
        for manifest in sorted((store.root / "hf_model" / run).glob(f"[0-9a-f]*/{MANIFEST}")):
            made = read_manifest(manifest.parent)
            ref = made.made_from.inputs.get(f"checkpoint/{run}")
            if ref is not None and ref.fingerprint in names:
                found.setdefault(run, []).append(made.fingerprint)
    return found
