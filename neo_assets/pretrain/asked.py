"""Whose run is `main`? Recipes share a store and call their runs alike: who asks for a training job leaves a note, and
commands keep to their own.

A note is a line in ``asked/‹recipe›/‹run›.txt``. A job that no recipe has a note of (of an older store) is anybody's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from neo_assets.core.store import Store

ASKED = "asked"


def note_asked(store: Store, recipe: str, run: str, fingerprint: str) -> None:
    """Note that a recipe has asked for the job of one of its runs, now."""
    if _noted(store, recipe, run)[-1:] == [fingerprint]:
        return
    file = _file(store, recipe, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(fingerprint + "\n")


def own_runs(store: Store, recipe: str, run: str) -> list[str]:
    """Fingerprints of a run that a recipe has built or asked for; the one it asked for last comes last."""
    noted = _noted(store, recipe, run)
    pointer = store.head_pointer(recipe, f"pretraining/{run}")
    built = [pointer[1]] if pointer and pointer[1] not in noted else []
    return built + [f for i, f in enumerate(noted) if f not in noted[i + 1 :]]


def not_anothers(store: Store, recipe: str, run: str) -> Callable[[str], bool]:
    """Whether a run's fingerprint, or its first letters, is this recipe's: it has asked for it, or nobody has."""
    mine = own_runs(store, recipe, run)
    known = {path.name for path in (store.root / ASKED).glob("*")} | set(store.recipes())
    others = {f for other in known - {recipe} for f in own_runs(store, other, run)} - set(mine)
    return lambda letters: not any(f.startswith(letters) for f in others) or any(f.startswith(letters) for f in mine)


def forget(store: Store, recipe: str) -> None:
    """Remove a recipe's notes."""
    for file in (store.root / ASKED / recipe).glob("*"):
        file.unlink()
    with contextlib.suppress(OSError):
        (store.root / ASKED / recipe).rmdir()


def _file(store: Store, recipe: str, run: str) -> Path:
    return store.root / ASKED / recipe / f"{run}.txt"


def _noted(store: Store, recipe: str, run: str) -> list[str]:
    try:
        return _file(store, recipe, run).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []
