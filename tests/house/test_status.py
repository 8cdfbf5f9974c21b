"""`neo status` and `neo plan` know what other recipes' builds have made just so, whatever one's own build holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.base import Section
from neo_assets.core.stage import Stage
from neo_assets.core.store import Artifact, Outcome, Store
from neo_assets.corpus.matrix import assemble_matrix
from neo_assets.house.status import FOUND, MADE, MISSING, STALE, states


class Numbers(Section):
    number: int


def stage(number: int, name: str = "matrix", reads: tuple[str, ...] = ()) -> Stage[Numbers]:
    return Stage(name, assemble_matrix, Numbers(number=number), reads=list(reads))


def build(store: Store, recipe: str, told: Stage[Numbers], inputs: Mapping[str, Artifact]) -> Artifact:
    artifact, _ = store.build(told.name, told.made_from(inputs), lambda _: Outcome(digest=str(told.config.number)))
    store.set_head(recipe, told.name, told.name, artifact.fingerprint)
    return artifact


@pytest.fixture
def recipe() -> Recipe:
    return load("laptop")


def told(recipe: Recipe, store: Store, *all_stages: Stage[Numbers]) -> dict[str, tuple[str, str]]:
    return {s.name: (s.state, s.because) for s in states(recipe, store, {one.name: one for one in all_stages})}


def test_what_another_recipe_made_just_so_is_found_and_what_reads_it_too(recipe: Recipe, tmp_path: Path) -> None:
    store, below = Store(tmp_path), stage(5, "heldout", reads=("matrix",))
    inputs = {"matrix": build(store, "other", stage(1), {})}
    build(store, "other", below, inputs)
    assert told(recipe, store, stage(1), below) == {
        "matrix": (FOUND, "made for recipe 'other'"),
        "heldout": (FOUND, "made for recipe 'other'"),
    }
    missing = told(recipe, store, stage(2), below)
    assert missing["matrix"][0] == MISSING and missing["heldout"][0] == MISSING


def test_an_older_build_of_ones_own_does_not_hide_it(recipe: Recipe, tmp_path: Path) -> None:
    store, below = Store(tmp_path), stage(5, "heldout", reads=("matrix",))
    mine = {"matrix": build(store, recipe.name, stage(1), {})}
    build(store, recipe.name, below, mine)
    assert {state for state, _ in told(recipe, store, stage(1), below).values()} == {MADE}
    assert told(recipe, store, stage(2), below)["matrix"][0] == STALE
    theirs = {"matrix": build(store, "other", stage(2), {})}
    build(store, "other", below, theirs)
    assert {state for state, _ in told(recipe, store, stage(2), below).values()} == {FOUND}
