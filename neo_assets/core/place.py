"""Where the factory keeps its things on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from neo_assets.core.fingerprint import ROOT


def store_root() -> Path:
    """The store: ``$NEO_STORE``, or ``.neo/store`` in the repository. Shared by all recipes."""
    return Path(os.environ.get("NEO_STORE") or ROOT / ".neo" / "store").resolve()


def dagster_home(recipe: str, default: str) -> Path:
    """Home of the Dagster instance of a recipe: the repository itself for the default one, ``.neo/home/‹recipe›`` for others."""
    return ROOT if recipe == default else ROOT / ".neo" / "home" / recipe
