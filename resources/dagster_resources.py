"""With what: the store, the compute backend and the ledger, as Dagster resources."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from neo_assets.asking import PROCESS_TAG
from neo_assets.core import process
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.model import Compute as ComputeSettings
from neo_assets.core.store import Store
from resources.compute import open_compute
from resources.compute.base import Compute
from resources.ledger import Ledger


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The folder that holds every artifact of every recipe."""

    root: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        # The executor runs every step in the run's own process (build.py): while this process lives, so does the run.
        if context.run_id is not None and context.instance is not None:
            context.instance.add_run_tags(context.run_id, {PROCESS_TAG: process.mine()})

    def open(self) -> Store:
        return Store(Path(self.root))


class ComputeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where jobs run."""

    settings: str  # the recipe's section, as JSON
    root: str

    def open(self) -> Compute:
        return open_compute(ComputeSettings.model_validate_json(self.settings), Path(self.root))


class LedgerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Every verdict about every document, through DuckDB; read-only."""

    root: str
    recipe: str

    def open(self) -> Ledger:
        return Ledger(Store(Path(self.root)), self.recipe)


def resources(recipe: Recipe) -> dict[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    root = str(store_root())
    return {
        "store": StoreResource(root=root),
        "compute": ComputeResource(settings=recipe.compute.model_dump_json(), root=root),
        "ledger": LedgerResource(root=root, recipe=recipe.name),
    }
