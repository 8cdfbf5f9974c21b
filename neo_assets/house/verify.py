"""`neo verify`: whether what lies in the store is what it says it is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from neo_assets.core.completion import CLAIMS
from neo_assets.core.errors import BadInput, MissingUpstream, NeoError, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Artifact, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.thinned import gone
from neo_assets.core.trainings import trained_run
from neo_assets.core.words import counted
from neo_assets.house.heads import checkpoints, current_heads, scores
from neo_assets.runs.run_commands import show_claims


def verify(
    asset: Annotated[
        str | None,
        typer.Argument(
            help="asset key, or RUN@STEP; everything this recipe's build uses if left out", autocompletion=CLAIMS
        ),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="hash every file")] = False,
    as_json: bool = JSON,
) -> None:
    """Check that artifacts on disk are what their manifests say; of a checkpoint (RUN@STEP), everything its certificate
    claims.
    """
    recipe = load()
    store = Store(store_root())
    if asset is not None and "@" in asset and "/" not in asset:
        show_claims(recipe, store, asset, as_json)
    heads = current_heads(recipe, store)
    runs = {fingerprint for key, fingerprint in heads.values() if trained_run(key)}
    heads |= {
        f"{key}@{folder.name}": (key, folder.name)
        for key, folder in [*checkpoints(store, runs), *scores(store, recipe)]
    }
    if asset is not None:
        from neo_assets.declare import label

        known = heads
        heads = {
            name: pointer
            for name, pointer in heads.items()
            if asset in (name, label(name), name.split("@")[0], label(name.split("@")[0]))
        }
        if asset in recipe.all_runs:
            raise BadInput(
                f"a checkpoint of run '{asset}' is named {asset}@STEP, as in {asset}@last; its training is"
                f" {recipe.trained(asset)}"
            )
        if not heads:
            raise MissingUpstream(
                f"nothing named '{asset}' is built for recipe '{recipe.name}'.{did_you_mean(asset, known)}"
            )
    if not heads:
        raise MissingUpstream(f"nothing is built for recipe '{recipe.name}'")
    problems, thin = [], 0
    for name, pointer in heads.items():
        try:
            made: Artifact | None = store.find(*pointer)
        except NeoError as error:
            problems.append(str(error))
            continue
        if made is None:
            problems.append(f"{name}: {pointer[1][:12]} is not in the store")
        else:
            thin += bool(gone(made.folder))
            problems += store.verify(made) if deep else []
    if as_json:
        show([{"artifacts": len(heads), "deep": deep, "problems": problems}], as_json)
        raise typer.Exit(1 if problems else 0)
    for problem in problems:
        print(problem, file=sys.stderr)
    by_step = sum("@" in name for name in heads)
    print(
        f"{counted(len(heads), 'artifact')} checked ({len(heads) - by_step} of the build, {by_step} of single training"
        f" steps: checkpoints, models, scores; {'every file hashed' if deep else 'manifests and sizes'}),"
        f" {counted(len(problems), 'problem')}"
        + (f"; {counted(thin, 'checkpoint')} without states, which `keep` let go" if thin else "")
    )
    raise typer.Exit(1 if problems else 0)
