"""``traced_samples`` as those read it who show it: without the index, and without what searches it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from neo_assets.core.store import Artifact

SAMPLES, FILE = "traced_samples", "traced.json"
NOT_CAUSE = "Verbatim, not cause: these words stand in that document. It is no proof that it made the model write them."


@dataclass(frozen=True)
class Segment:
    """A piece of a text; ``passage``: number of the one that it is part of, the rarest of several; 0 for none."""

    text: str
    passage: int = 0


def read_traced(artifact: Artifact | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What was traced, by run, checkpoint and prompt; nothing where the recipe traces nothing."""
    if artifact is None:
        return {}
    rows = json.loads(artifact.file(FILE).read_text(encoding="utf-8"))
    return {(row["run"], str(row["checkpoint"]), row["prompt"]): row for row in rows}
