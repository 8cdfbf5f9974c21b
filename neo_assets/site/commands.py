"""`neo site`: the pages for readers, as a folder to give away or to serve."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.tombstones import in_the_corpus, targets_digest


def site(
    folder: Annotated[Path, typer.Argument(help="where the pages are written; it must not be there yet")],
) -> None:
    """Write the recipe's site into a folder: pages that open without a server and ask no other machine for anything."""
    recipe, store = load(), Store(store_root())
    if recipe.site is None:
        raise BadInput(f"recipe '{recipe.name}' has no `site`: with `site: {{}}` the factory makes one")
    made = store.head(recipe.name, "site")
    if made.manifest.made_from.config.get("tombstones") != targets_digest(in_the_corpus(store.root)):
        raise BadInput("tombstones were recorded or revoked since the site was made: materialize it again")
    if folder.exists():
        raise BadInput(f"{folder} is there already")
    shutil.copytree(made.path, folder, ignore=lambda place, names: _of_the_store(Path(place), made.path, names))
    print(f"{folder / 'index.html'}: {made.manifest.numbers['documents']:,} documents")


def _of_the_store(place: Path, root: Path, names: list[str]) -> set[str]:
    return {"manifest.json", "verdict.json"} & set(names) if place == root else set()
