"""Checkpoints of which only what tells of them is kept: their states were let go by the run's ``keep``.

What remains, certificate, metrics and manifest with every digest, still says what the run was at that step; `neo prove`
trains to it again from the whole one before. Nothing but states can be let go: a mark that names another file hides no
loss of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.errors import NeoError

MARK = "thinned.json"
"""File of a checkpoint's folder that names what was let go; written before anything goes."""
STATES = ("state/", "rng/")
"""Folders of a checkpoint with what a run goes on from."""


class Thinned(NeoError):
    """An artifact was asked for what a recipe has let go of it."""


def states(names: Iterable[str]) -> list[str]:
    """Those of a checkpoint's files that can be let go."""
    return sorted(name for name in names if name.startswith(STATES))


def thin(folder: Path, names: Iterable[str]) -> None:
    """Let the states among these files of a committed folder go. Safe to repeat after a kill."""
    chosen = states(names)
    if not (folder / MARK).is_file():
        records.write_text(folder / MARK, json.dumps(chosen))
    for name in chosen:
        (folder / name).unlink(missing_ok=True)


def gone(folder: Path) -> frozenset[str]:
    """Names of the files that were let go of a folder; most have none."""
    try:
        return frozenset(states(json.loads((folder / MARK).read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return frozenset()
