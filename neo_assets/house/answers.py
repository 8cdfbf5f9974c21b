"""How fine-tuned models answer: a few held-out prompts, as `neo summary` prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.evaluation import CHAT
from neo_assets.core.store import Store
from neo_assets.core.words import at
from neo_assets.evaluate.index import read_scores, recipe_checkpoints

WIDEST = 90
"""Characters of a question or answer that are printed."""


def answers(recipe: Recipe, store: Store) -> dict[str, list[dict[str, Any]]]:
    """Items of the chat tasks by checkpoint, of the last evaluated one of every fine-tuned run."""
    runs = [run for run in recipe.runs if recipe.learns(run) == "sft"]
    known = recipe_checkpoints(store, recipe.name, [recipe.trained(run) for run in runs])
    rows = [row for row in read_scores(store, known).to_pylist() if row["main"] and row["task"].startswith(CHAT)]
    out: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        mine = [row for row in rows if row["run"] == run and row["attempt"] == 1]
        newest: dict[str, Any] = {}
        for row in sorted(mine, key=lambda row: (row["step"], row["made_at"])):
            newest[row["task"]] = row
        for task in sorted(newest):
            row = newest[task]
            lines = (store.root / row["samples"]).read_text(encoding="utf-8").split("\n")
            items = [{**json.loads(line), "lang": row["lang"]} for line in lines if line]
            out.setdefault(at(run, row["checkpoint"]), []).extend(items)
    return out


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
        group = (item["lang"], item["set"], item["task"])
        if group in seen:
            continue
        seen.add(group)
        yield f"  {_line(item['asked'])}"
        yield f"    {'right':{width}}  {_line(item['target'])}"
        for name, items in by_id.items():
            if (said := items.get(item["id"])) is not None:
                yield f"    {name:{width}}  {_line(said['written']) or '(nothing)'}"


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text[:WIDEST] + " …" * (len(text) > WIDEST)
