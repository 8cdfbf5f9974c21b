"""Where jobs run. ``open_compute`` is the one place that knows the backends' names."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.base import Compute
from resources.compute.kubernetes import KubernetesCompute
from resources.compute.local import LocalCompute
from resources.compute.slurm import SlurmCompute


def open_compute(settings: Settings, store_root: Path) -> Compute:
    """The backend a recipe's ``compute`` section names."""
    if settings.backend == "slurm":
        return SlurmCompute(store_root, settings)
    if settings.backend == "kubernetes":
        return KubernetesCompute(store_root, settings)
    return LocalCompute(store_root)
