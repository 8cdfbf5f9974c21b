"""Where jobs run. ``open_compute`` is the one place that knows the backends' names."""

from __future__ import annotations

from pathlib import Path

from neo_assets.core.errors import MachineLacks
from resources.compute.base import Compute
from resources.compute.local import LocalCompute


def open_compute(backend: str, store_root: Path) -> Compute:
    """The backend a recipe names.

    Raises:
        MachineLacks: a backend that this version cannot submit to.
    """
    if backend == "local":
        return LocalCompute(store_root)
    raise MachineLacks(f"compute.backend '{backend}' cannot be submitted to yet: only 'local' can. `neo plan` shows the command that would run.")
