"""Where work over many shards is done: processes of this machine, or a job of a cluster."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shards import Engine, LocalEngine
from resources.data.cluster import ClusterEngine, Observe


def open_engine(settings: Settings, store_root: Path, observe: Observe | None = None) -> Engine:
    """The engine that a recipe's ``compute.data`` names. ``observe`` is told now and then how a job is."""
    here = LocalEngine(settings.workers)
    if settings.data.engine == "local":
        return here
    from resources.compute import backend_named

    compute = backend_named(settings.data.engine, settings, store_root)
    return ClusterEngine(compute, settings.data, here, observe)
