"""`neo fetch-benchmarks`: benchmarks' data, to where the recipe looks for them."""

from __future__ import annotations

from typing import Annotated

import typer

from neo_assets.core.errors import BadInput, NeoError, did_you_mean
from neo_assets.core.recipe import load


def fetch_benchmarks(
    names: Annotated[
        list[str] | None, typer.Argument(help="benchmarks of the recipe; all that have a url if left out")
    ] = None,
) -> None:
    """Download benchmarks' data to where the recipe looks for them. Nothing else in evaluation uses a network."""
    from neo_assets.tasks.fetch import fetch_benchmark

    recipe = load()
    known = recipe.evaluation.benchmarks
    for name in names or []:
        if name not in known:
            raise BadInput(
                f"the recipe has no benchmark '{name}'.{did_you_mean(name, known) or ' There are: ' + ', '.join(known)}"
            )
    failed = 0
    for name in names or [n for n, b in known.items() if b.url]:
        try:
            place, fetched = fetch_benchmark(name, known[name])
            print(f"{name}: {'fetched into' if fetched else 'already in'} {place}")
        except NeoError as error:
            failed += 1
            print(f"{name}: {error}")
    if failed:
        raise typer.Exit(2)
