"""`neo schema`: the form of a recipe file."""

from __future__ import annotations

import json

from neo_assets.core.recipe import json_schema


def schema() -> None:
    """Print the JSON schema of recipe files, for editors."""
    print(json.dumps(json_schema(), ensure_ascii=False, indent=1))
