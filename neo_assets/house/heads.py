"""What a recipe's build uses: its artifacts, and the checkpoints and scores of its runs."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Store


def current_heads(recipe: Recipe, store: Store) -> dict[str, tuple[str, str]]:
    """What the recipe's build uses, without what the recipe no longer has: a step, a source, a branch or a run that was
    taken out.
    """
    aligned = {*recipe.align.instructions, *recipe.align.preferences, *recipe.align.named()} if recipe.align else set()
    named = {*aligned, *recipe.sources, *recipe.languages, *recipe.mixture, *recipe.all_runs}

    def has(name: str) -> bool:
        of = name.partition("/")[2]
        return (not of or of in named) and recipe.makes(name)

    return {name: pointer for name, pointer in store.heads(recipe.name).items() if has(name.split("@")[0])}


def checkpoints(store: Store, runs: set[str]) -> list[tuple[str, Path]]:
    """(key, folder) of every checkpoint of the training runs with these fingerprints."""
    short = {fingerprint[:8] for fingerprint in runs}
    return [
        (key, folder)
        for key, fingerprint, folder in store.all()
        if key.startswith("checkpoint/") and fingerprint.split("-")[-1] in short
    ]


def scores(store: Store, recipe: Recipe) -> list[tuple[str, Path]]:
    """(key, folder) of every score of the recipe's runs: tables and curves are made of them, whichever build names
    them.
    """
    from neo_assets.evaluate.index import read_scores
    from neo_assets.runs.asked import not_anothers

    mine = {run: not_anothers(store, recipe.name, run) for run in recipe.all_runs}
    try:
        rows = read_scores(store).select(["run", "checkpoint", "fingerprint"]).to_pylist()
    except DamagedArtifact:
        rows = []  # it is named when it is looked at; whose the others are, their rows would say
    anothers = {
        r["fingerprint"] for r in rows if r["run"] in mine and not mine[r["run"]](r["checkpoint"].rpartition("-")[2])
    }
    folders = [
        (run, manifest.parent)
        for run in recipe.all_runs
        for manifest in sorted((store.root / "eval_scores" / run).glob("[!.]*/manifest.json"))
    ]
    return [(f"eval_scores/{run}", folder) for run, folder in folders if folder.name not in anothers]
