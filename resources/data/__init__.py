"""Where work over many shards is done: processes of this machine, or a job of a cluster."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shards import SPAWN_COSTS_MORE_THAN, Engine, LocalEngine
from resources.data.cluster import ClusterEngine, Observe

MEGA = 1_000_000
JOB_COSTS_MORE_THAN = 64 * MEGA
"""Input bytes below which a job's way through a scheduler costs more than the work does."""


def open_engine(settings: Settings, store_root: Path, observe: Observe | None = None) -> Engine:
    """The engine that a recipe's ``compute.data`` names. ``observe`` is told now and then how a job is."""
    least = settings.data.at_least_mb
    if settings.data.engine == "local":
        return LocalEngine(settings.workers, SPAWN_COSTS_MORE_THAN if least is None else least * MEGA)
    from resources.compute import backend_named

    compute = backend_named(settings.data.engine, settings, store_root)
    least = JOB_COSTS_MORE_THAN if least is None else least * MEGA
    return ClusterEngine(compute, settings.data, least, LocalEngine(settings.workers), observe)
