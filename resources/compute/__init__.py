"""Where jobs run. This is the one place that knows the backends' names."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.errors import MachineLacks
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.base import Compute
from resources.compute.kubernetes import KubernetesCompute
from resources.compute.local import LocalCompute
from resources.compute.slurm import SlurmCompute

BACKENDS: dict[str, type[Compute]] = {
    backend.name: backend for backend in (LocalCompute, SlurmCompute, KubernetesCompute)
}


def open_compute(settings: Settings, store_root: Path) -> Compute:
    """The backend a recipe's ``compute`` section names."""
    return backend_named(settings.backend, settings, store_root)


def backend_named(name: str, settings: Settings, store_root: Path) -> Compute:
    """A backend by its name. Raises MachineLacks for one that this version does not have."""
    if name not in BACKENDS:
        raise MachineLacks(
            f"a job was started by the backend '{name}', which this version does not know; it knows"
            f" {', '.join(BACKENDS)}"
        )
    return BACKENDS[name](store_root, settings)
