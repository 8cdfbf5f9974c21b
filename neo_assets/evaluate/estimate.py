"""How long an evaluation will take, by what the same tasks took before."""

from __future__ import annotations

import json
from collections.abc import Collection
from statistics import median

from neo_assets.core.store import MANIFEST, Store
from neo_assets.core.words import age, counted

LOOKED_AT = 400
"""Scores whose seconds are read: the newest of a run, of which others' models of its name are a part."""
START = 5.0
"""Seconds, measured here: a job's start and the model's loading. A large model takes longer to load."""


def asking_takes(store: Store, run: str, tasks: Collection[str]) -> str:
    """A sentence on how long asking these tasks will take. Empty where none of them was ever asked of that run."""
    store.learn(f"eval_scores/{run}")
    folder = store.root / "eval_scores" / run
    files = list(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []
    took: dict[str, list[float]] = {}
    for file in sorted(files, key=lambda f: f.stat().st_mtime, reverse=True)[:LOOKED_AT]:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        rows = manifest["tables"].get("scores") or []
        if rows and rows[0]["task"] in tasks and isinstance(rows[0].get("seconds"), int | float):
            took.setdefault(rows[0]["task"], []).append(float(rows[0]["seconds"]))
    if not took:
        return ""
    known = START + sum(median(seconds) for seconds in took.values())
    new = len(set(tasks) - took.keys())
    return f"about {age(known)}, by what {counted(len(took), 'task')} took before" + (
        f"; {new} were not asked yet" if new else ""
    )
