"""`neo why`: what would have an asset made again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from neo_assets.core.completion import ARTIFACTS
from neo_assets.core.errors import NeoError
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.stage import Stage
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.why import differences


def why(
    asset: Annotated[
        str,
        typer.Argument(help="e.g. clean_docs/en (or clean_docs_en, as Dagster writes it)", autocompletion=ARTIFACTS),
    ],
    as_json: bool = JSON,
) -> None:
    """Why an asset would be made again: the recipe field, module, library or input that changed."""
    from neo_assets.build import artifact_named, stages

    recipe = load()
    store = Store(store_root())
    entries = stages(recipe)
    asset = artifact_named(asset, entries, recipe)
    pointer = store.head_pointer(recipe.name, asset)
    if pointer is None:
        lines = [
            f"recipe '{recipe.name}' has not asked for {asset} yet; what others made under the same recipe, code and"
            " inputs would be found"
        ]
    else:
        made = store.find(*pointer)
        entry = entries[asset]
        inputs = {}
        for name in entry.reads:
            try:
                inputs[name] = store.head(recipe.name, name)
            except NeoError as error:
                print(f"input {name}: {error}", file=sys.stderr)
        lines = (
            differences(made.manifest.made_from, entry.expected(made.manifest.made_from, inputs))
            if made
            else [f"{asset}: its folder {store.folder(*pointer)} is gone"]
        )
        if not lines:  # what the refused one was made from may have changed since
            lines = _upstream(asset, recipe.name, store, entries)
        lines += [f"refused: {c.name}: {c.detail}" for c in (made.refused_by if made else [])]
    show([{"asset": asset, "because": line} for line in lines], as_json, empty=f"{asset} is up to date")


def _upstream(asset: str, recipe: str, store: Store, entries: Mapping[str, Stage[Any]]) -> list[str]:
    """Stale ancestors of an asset that is itself as its inputs would make it."""
    waiting, seen, out = list(entries[asset].reads), set(), []
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        entry = entries[name]
        waiting += entry.reads
        pointer = store.head_pointer(recipe, name)
        made = store.find(*pointer) if pointer else None
        try:
            inputs = {n: store.head(recipe, n) for n in entry.reads}
        except NeoError:
            continue
        if made is None:
            out.append(f"upstream {name} has never been made")
        elif changed := differences(made.manifest.made_from, entry.expected(made.manifest.made_from, inputs)):
            out += [f"upstream {name}: {line}" for line in changed]
    return out
