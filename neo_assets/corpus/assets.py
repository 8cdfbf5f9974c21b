"""The corpus room: `matrix`, `heldout`, `train_pool`, `withdrawn`, `mixture` by phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import LANGUAGE_NOT_EMPTY, ROWS_BALANCE, Claim, Stage
from neo_assets.core.tombstones import chain_of, in_the_corpus
from neo_assets.core.withdrawn import KEY, reads_of
from neo_assets.corpus.held_out import NO_SHARED_RUNS, SplitInput, hold_out, pool
from neo_assets.corpus.matrix import MatrixInput, assemble_matrix
from neo_assets.corpus.mixture import MixtureInput, mix
from neo_assets.corpus.withdrawn import WithdrawnInput, find_withdrawn
from neo_assets.declare import AttendedStage, Making

EVERY_LANGUAGE_SERVED = Claim("every_language_served", "Every language the mixture asks for has documents.")
WHOLE = (ROWS_BALANCE, LANGUAGE_NOT_EMPTY)


@dataclass(frozen=True)
class Withdrawn(AttendedStage[WithdrawnInput]):
    """Takes the tombstones that are in force when it is made."""

    def settled(self, at: Making) -> WithdrawnInput:
        return WithdrawnInput.of(in_the_corpus(at.store.root), chain_of(at.store.root))


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    cleaned = [recipe.cleaned(lang) for lang in recipe.languages]
    split = SplitInput(languages=recipe.languages, split=recipe.heldout)
    yield Stage("matrix", assemble_matrix, MatrixInput(languages=recipe.languages), reads=cleaned, claims=WHOLE)
    yield Stage("heldout", hold_out, split, reads=["matrix"], claims=WHOLE, divides=True)
    yield Stage("train_pool", pool, split, reads=["matrix", "heldout"], claims=[*WHOLE, NO_SHARED_RUNS], divides=True)
    yield _withdrawn(recipe)
    for phase, mixture in recipe.mixture.items():
        yield Stage(
            f"mixture/{phase}",
            mix,
            MixtureInput(phase=phase, mixture=mixture),
            reads=["train_pool", *(f"hq_recall/{lang}" for lang in mixture.recalled_rounds)],
            claims=[ROWS_BALANCE, EVERY_LANGUAGE_SERVED],
        )


def _withdrawn(recipe: Recipe) -> Stage[Any]:
    """What was known of tombstones when definitions loaded is known to ``neo plan``; object storage is not asked."""
    known = WithdrawnInput.of(in_the_corpus(store_root(), ask=False))
    return Withdrawn(KEY, find_withdrawn, known, reads=reads_of(recipe))
