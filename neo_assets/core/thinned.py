"""Checkpoints of which only what tells of them is kept: their states were let go by the run's ``keep``.

What remains, certificate, metrics and manifest with every digest, still says what the run was at that step; `neo prove`
trains to it again from the whole one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.errors import NeoError

MARK = "thinned.json"
"""File of a checkpoint's folder that names what was let go; written before anything goes."""


class Thinned(NeoError):
    """An artifact was asked for what a recipe has let go of it."""


def thin(folder: Path, names: Iterable[str]) -> None:
    """Let these files of a committed folder go. Safe to repeat after a kill."""
    chosen = sorted(names)
    if not (folder / MARK).is_file():
        records.write_text(folder / MARK, json.dumps(chosen))
    for name in chosen:
        (folder / name).unlink(missing_ok=True)


def gone(folder: Path) -> frozenset[str]:
    """Names of the files that were let go of a folder; most have none."""
    try:
        return frozenset(json.loads((folder / MARK).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return frozenset()
