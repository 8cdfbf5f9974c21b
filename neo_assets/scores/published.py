"""Published scores of other models, with where each number is from. Another harness asked, so they are shown and never
tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.base import Section
from neo_assets.core.store import Row

HARNESS = "other harness"
PROVENANCE: dict[str, str] = {"printed": "printed", "figure": "read from a figure, ± 0.3 points"}
PERCENT = 100.0


class Published(Section):
    """A file of published scores, in percent, by model and by how they were obtained."""

    source: str
    scores: dict[str, dict[Literal["printed", "figure"], dict[str, float]]] = Field(min_length=1)


def read_published(files: Sequence[Path]) -> list[Row]:
    """One row per model and task; values as fractions of 1.

    Raises:
        BadInput: a file that is not of this form, by name and field.
    """
    rows: list[Row] = []
    for file in files:
        try:
            content = Published.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise BadInput(f"{file}: cannot be read as published scores: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        for model, by_origin in content.scores.items():
            for origin, values in by_origin.items():
                said = f"{PROVENANCE[origin]}; {content.source}"
                rows += [
                    {
                        "model": model,
                        "task": task,
                        "value": round(value / PERCENT, 6),
                        "provenance": said,
                        "harness": HARNESS,
                    }
                    for task, value in values.items()
                ]
    return rows
