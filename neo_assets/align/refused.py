"""What rounds do not go on from: a model that its guards refuse, a reward model that is not accurate enough.

Dagster stops at such a check where both are asked for at once; whoever asks for the later artifact alone is told here.
"""

from __future__ import annotations

from neo_assets.align.round_names import ROUND_REPORT
from neo_assets.core.errors import NeoError
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store

REWARD_REPORT = "reward_report"


def refuse_after_collapse(recipe: Recipe, store: Store, run: str) -> None:
    """Raises NeoError where the round that a run would go on from did not pass its guards, or was not looked at."""
    before = recipe.parent_of(run)
    if before is not None and recipe.guards(before):
        _refuse(recipe, store, f"{ROUND_REPORT}/{before}", f"no round goes on from {before}")


def refuse_bad_judge(recipe: Recipe, store: Store, judge: str | None) -> None:
    """Raises NeoError where a run's reward model did not tell held-out pairs as well as the recipe asks for."""
    if judge is not None:
        _refuse(recipe, store, f"{REWARD_REPORT}/{judge}", f"nothing is rewarded by {judge}")


def _refuse(recipe: Recipe, store: Store, report: str, consequence: str) -> None:
    pointer = store.head_pointer(recipe.name, report)
    made = store.find(*pointer) if pointer else None
    if made is None:
        raise NeoError(f"{consequence} before it was looked at: materialize {report} first")
    if made.refused_by:
        told = "; ".join(f"{check.name}: {check.detail}" for check in made.refused_by)
        raise NeoError(f"{consequence}, which {report} refuses: {told}")
