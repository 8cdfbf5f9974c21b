"""Whose run is `main`? Recipes share a store and call their runs alike: who asks for a training job leaves a note, and
commands keep to their own.

A note is a line in ``asked/‹recipe›/‹run›.txt``. A job that no recipe has a note of (of an older store) is anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neo_assets.core.store import Store
from neo_assets.core.trainings import names_of, trained_run

ASKED = "asked"


def note_asked(store: Store, recipe: str, run: str, fingerprint: str) -> None:
    """Note that a recipe has asked for the job of one of its runs, now."""
    if _noted(store, recipe, run)[-1:] == [fingerprint]:
        return
    file = _file(store, recipe, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(fingerprint + "\n")


def asked_runs(store: Store, recipe: str, run: str) -> list[str]:
    """Fingerprints of a run that a recipe has asked for, the latest last."""
    noted = _noted(store, recipe, run)
    return [f for i, f in enumerate(noted) if f not in noted[i + 1 :]]


def not_anothers(store: Store, recipe: str, run: str) -> Callable[[str], bool]:
    """Whether a run's fingerprint, or its first letters, is this recipe's: it has asked for it, or nobody has."""
    mine = _own(store, recipe, run)
    known = {path.name for path in (store.root / ASKED).glob("*")} | set(store.recipes())
    others = {f for other in known - {recipe} for f in _own(store, other, run)} - mine
    return lambda letters: not any(f.startswith(letters) for f in others) or any(f.startswith(letters) for f in mine)


def askers(store: Store) -> dict[str, list[str]]:
    """Recipes that asked for each training run, or hold it, by the first eight letters of its fingerprint: those that
    its checkpoints, and jobs of them, carry in their names.
    """
    found: dict[str, list[str]] = {}
    for recipe in sorted({path.name for path in (store.root / ASKED).glob("*")} | set(store.recipes())):
        runs = {path.stem for path in (store.root / ASKED / recipe).glob("*.txt")}
        runs |= {run for name in store.heads(recipe) if (run := trained_run(name))}
        for fingerprint in {f[:8] for run in runs for f in _own(store, recipe, run)}:
            found.setdefault(fingerprint, []).append(recipe)
    return found


def _own(store: Store, recipe: str, run: str) -> set[str]:
    """What a recipe has asked for, and what its build holds: that of an older store was not noted."""
    held = [pointer[1] for name in names_of(run) if (pointer := store.head_pointer(recipe, name))]
    return {*_noted(store, recipe, run), *held}


def _file(store: Store, recipe: str, run: str) -> Path:
    return store.root / ASKED / recipe / f"{run}.txt"


def _noted(store: Store, recipe: str, run: str) -> list[str]:
    try:
        return _file(store, recipe, run).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []
