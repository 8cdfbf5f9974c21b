"""``traced_samples`` as those read it who show it: without the index, and without what searches it."""

from __future__ import annotations

import json
from typing import Any

from neo_assets.core.store import Artifact

SAMPLES, FILE = "traced_samples", "traced.json"


def read_traced(artifact: Artifact | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What was traced, by run, checkpoint and prompt; nothing where the recipe traces nothing."""
    if artifact is None:
        return {}
    rows = json.loads(artifact.file(FILE).read_text(encoding="utf-8"))
    return {(row["run"], str(row["checkpoint"]), row["prompt"]): row for row in rows}
