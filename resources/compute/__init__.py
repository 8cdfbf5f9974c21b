"""Where jobs run. A backend is a file of this folder, called what the recipe calls it, with a ``BACKEND`` in it."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.errors import MachineLacks
from neo_assets.core.recipe.kinds import told
from neo_assets.core.recipe.model import SHIPPED_BACKENDS
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.base import Compute


def open_compute(settings: Settings, store_root: Path) -> Compute:
    """The backend a recipe's ``compute`` section names."""
    return backend_named(settings.backend, settings, store_root)


def backend_named(name: str, settings: Settings, store_root: Path) -> Compute:
    """A backend by its name. Raises MachineLacks for one that this version does not have."""
    try:
        backend = told("resources.compute", name, "BACKEND")
    except ModuleNotFoundError as error:
        raise MachineLacks(
            f"a job was started by the backend '{name}', which this version does not know; it knows"
            f" {', '.join(SHIPPED_BACKENDS)}"
        ) from error
    assert isinstance(backend, type) and issubclass(backend, Compute)
    return backend(store_root, settings)
