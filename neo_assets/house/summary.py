"""`neo summary`: the scores of a recipe's build, what its gates said, and where its report is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.house.heads import current_heads

LONGEST_REASON = 150
"""Characters of a gate's reasons that are printed; the report has them all."""


def summary(as_json: bool = JSON, since: Annotated[float, typer.Option(hidden=True)] = 0.0) -> None:
    """The scores of this recipe's build, and where its report is."""
    recipe = load()
    store = Store(store_root())
    rows, waiting = [], []
    for run in recipe.runs:
        if store.head_pointer(recipe.name, f"evaluation/{run}") is None:
            waiting.append(run)
            continue
        scores = json.loads(
            store.head(recipe.name, f"evaluation/{run}").file("scores.json").read_text(encoding="utf-8")
        )
        rows += [
            {
                "run": run,
                "step": r["step"],
                "task": r["task"],
                "metric": r["metric"],
                "value": r["value"],
                "stderr": r["stderr"],
                "n": r["n"],
                "chance": r["chance"],
            }
            for r in scores
            if r["headline"]
        ]
    if as_json:
        show(rows, as_json=True)
        return
    if waiting == list(recipe.runs):
        store.head(recipe.name, f"evaluation/{waiting[0]}")  # says what to do
    show(rows, as_json=False, title="Scores")
    if waiting:
        print(f"not evaluated yet: {', '.join(waiting)}")
    if (pointer := store.head_pointer(recipe.name, "comparison")) and (comparison := store.find(*pointer)):
        print()
        for check in comparison.verdict:
            said = check.detail if len(check.detail) <= LONGEST_REASON else check.detail[:LONGEST_REASON] + " …"
            print(f"{'pass' if check.passed else 'REFUSED' if check.blocking else 'warning':8} {check.name}: {said}")
        print(f"Scores, curves, what was written, every gate's reasons in full: {comparison.file('scores.html')}")
        store.head(recipe.name, "comparison")  # a refused one ends it here
    if store.head_pointer(recipe.name, "factory_report") is None:
        print("\nThere is no report yet: the job 'factory' makes it.")
        return
    report = store.head(recipe.name, "factory_report").file("report.html")
    heads = [
        a
        for a in (store.find(*pointer) for name, pointer in current_heads(recipe, store).items() if "@" not in name)
        if a
    ]
    fresh = [a for a in heads if (a.path / "manifest.json").stat().st_mtime >= since]
    if since:
        print(
            f"\n{len(fresh)} of {len(heads)} artifacts were made now, {len(heads) - len(fresh)} were reused."
            + ("" if fresh else " Nothing was recomputed.")
        )
    print(f"\nReport: {report}\nWeb UI: make ui\nThe story of one page: neo fate URL")
