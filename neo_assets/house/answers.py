"""How fine-tuned models answer: a few held-out prompts, as `neo summary` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.evaluation import CHAT
from neo_assets.core.store import Store
from neo_assets.evaluate.answers import answered

WIDEST = 90
"""Characters of a question or answer that are printed."""


def answers(recipe: Recipe, store: Store) -> dict[str, list[dict[str, Any]]]:
    """What is kept of the last evaluated checkpoint of every fine-tuned run, by checkpoint."""
    pointers = {run: store.head_pointer(recipe.name, f"evaluation/{run}") for run in recipe.writing}
    return answered({run: made for run, place in pointers.items() if place and (made := store.find(*place))})


def told(recipe: Recipe, store: Store) -> Iterator[str]:
    """Lines: of every language and task the first prompt, what is right, and what each model says."""
    found = answers(recipe, store)
    if not found:
        return
    yield "\nHow it answers held-out questions"
    last = next(reversed(found))
    by_id = {name: {item["id"]: item for item in items} for name, items in found.items()}
    width = max(map(len, [*found, "right"]))
    seen = set()
    for item in found[last]:
        group = (item["name"], item["set"], item["task"])
        if group in seen:
            continue
        seen.add(group)
        yield f"  {_line(item['asked'])}"
        yield f"    {'right':{width}}  {_line(item['target'])}"
        for name, items in by_id.items():
            if (said := items.get(item["id"])) is not None:
                yield f"    {name:{width}}  {_line(said['written']) or '(nothing)'}"


def by_kind(scores: list[dict[str, Any]], model: str) -> Iterator[str]:
    """Lines: how many answers of a run's last checkpoint (``model``, as people call it) are exactly right, by kind of
    question.
    """
    newest = max((row["step"] for row in scores), default=0)
    scores = [row for row in scores if row["step"] == newest]
    rows = [row for row in scores if row["task"].startswith(CHAT) and str(row["subset"] or "").startswith("task:")]
    for task in dict.fromkeys(row["task"] for row in rows):
        kinds = [f"{row['subset'].partition(':')[2]} {row['value']:.0%}" for row in rows if row["task"] == task]
        yield f"  {model}, {task}, exactly right by kind of question: {', '.join(kinds)}"


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text[:WIDEST] + " …" * (len(text) > WIDEST)
