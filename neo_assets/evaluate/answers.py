"""Some held-out prompts and what a run's checkpoints answered, as its evaluation keeps them to be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from neo_assets.core.store import Artifact
from neo_assets.core.words import at

ANSWERS = "answers.json"
"""Of the evaluation of a fine-tuned run."""


def answered(evaluations: Mapping[str, Artifact]) -> dict[str, list[dict[str, Any]]]:
    """What is kept of the last evaluated checkpoint of every fine-tuned run among these, by checkpoint."""
    out: dict[str, list[dict[str, Any]]] = {}
    for run, made in evaluations.items():
        if ANSWERS in made.manifest.files:
            rows = json.loads(made.file(ANSWERS).read_text(encoding="utf-8"))
            last = max(row["step"] for row in rows)
            mine = [row for row in rows if row["step"] == last]
            out[at(run, mine[0]["checkpoint"])] = mine
    return out
