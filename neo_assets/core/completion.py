"""What a shell offers to complete: names of this recipe and of what the store holds. Never an error: a recipe that
cannot be read, or a store that is not there, offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Store
from neo_assets.core.words import at

Offered = Callable[[str], list[str]]


def _offer(names: Callable[[Recipe, Store], Iterable[str]]) -> Offered:
    def offered(incomplete: str) -> list[str]:
        try:
            found = list(dict.fromkeys(names(load(), Store(store_root()))))
        except Exception:  # a shell that is asked for words must not be given a traceback
            return []
        return [name for name in found if name.startswith(incomplete)]

    return offered


def _checkpoints(recipe: Recipe, store: Store) -> list[str]:
    found = []
    for run in recipe.runs:
        folder = store.root / "checkpoint" / run
        there = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
        found += [*(at(run, name) for name in there), *([f"{run}@last"] if there else [])]
    return found


RUNS = _offer(lambda recipe, _: recipe.runs)
CHECKPOINTS = _offer(_checkpoints)
"""RUN@STEP, of every run of the recipe; checkpoints of other recipes' runs of the same name are among them."""
SUITES = _offer(lambda recipe, _: recipe.evaluation.suites)
ARTIFACTS = _offer(lambda recipe, store: sorted(n for n in store.heads(recipe.name) if "@" not in n))
"""Artifacts that the recipe's build holds."""
CLAIMS = _offer(lambda recipe, store: [*ARTIFACTS(""), *_checkpoints(recipe, store)])
"""What can be verified: artifacts and checkpoints."""
