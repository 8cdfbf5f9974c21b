"""`neo diff`: what is different between two runs or builds, and what it did to the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.completion import RUNS
from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show

SIDE = "[RECIPE:]RUN, RUN@FINGERPRINT of one as it once was, or a recipe: its whole build"


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE, autocompletion=RUNS)],
    b: Annotated[str, typer.Argument(metavar="B", help=SIDE, autocompletion=RUNS)],
    page: Annotated[Path | None, typer.Option(help="write a page of HTML, too")] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="chance of calling equals different, over all tasks shown")
    ] = 0.05,
    as_json: bool = JSON,
) -> None:
    """What is different between two runs or builds: recipe, code, libraries, machine, data; documents in and out, and
    why; and the scores of their last checkpoints, item by item.
    """
    from neo_assets.difference.differing import difference
    from neo_assets.difference.sides import side_of
    from neo_assets.difference.told import heading, parts, write_page

    if page is not None and not page.parent.is_dir():
        raise BadInput(f"{page}: there is no folder {page.parent}")
    recipe, store = load(), Store(store_root())
    found = difference(store, side_of(store, recipe.name, a), side_of(store, recipe.name, b), alpha)
    if page is not None:
        write_page(page, found)
    if as_json:
        print(json.dumps(found.plain(), ensure_ascii=False, indent=1))
        return
    print(heading(found))
    for name, sentence, rows in parts(found):
        print(f"\n{name}" + (f": {sentence}" if sentence else ""))
        if rows:
            show(list(rows), False)
    if page is not None:
        print(f"\npage: {page}")
