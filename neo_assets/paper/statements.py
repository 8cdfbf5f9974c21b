"""What MAP-Neo says, as ``statements.yaml`` has it: each with its source, and where a recipe and its artifacts say the
same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from neo_assets.core.errors import RecipeError
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.written import LOADER

FILE = Path(__file__).with_name("statements.yaml")
Value = bool | int | float | str | list[str] | None
Source = Literal["paper", "summary", "code", "file", "card", "table", "figure", "derived", "unknown"]
SOURCES: dict[Source, str] = {
    "paper": "paper",
    "summary": "summary of the paper",
    "code": "released code",
    "file": "released file",
    "card": "card",
    "table": "repository's table",
    "figure": "repository's figure",
    "derived": "derived",
    "unknown": "unknown",
}


class Also(Section):
    """What another source says."""

    value: Value
    source: Source = Field(alias="from")
    note: str = ""


class Statement(Section):
    """One statement. ``line``: of the file."""

    id: str
    what: str
    unit: str = ""
    value: Value = None
    said: str = ""
    source: Source = Field(alias="from")
    note: str = ""
    also: list[Also] = Field(default_factory=list)
    recipe: str = ""
    begins: bool = Field(False, description="the recipe's list need only begin so")
    here: str = Field("", description="what is done instead, where no recipe can say it")
    measured: str = ""
    needs: str = Field("", description="a place that the recipe has to have for `here` to be so")
    line: int = 0

    @model_validator(mode="after")
    def _unknown_has_no_value(self) -> Statement:
        if self.source == "unknown" and (self.value is not None or self.said):
            raise ValueError(f"{self.id}: unknown, and a value")
        return self


class Chapter(Section):
    of: str
    note: str = ""
    statements: list[Statement]


@functools.cache
def read_statements(file: Path = FILE) -> dict[str, Chapter]:
    """The statements by chapter, in the paper's order.

    Raises:
        RecipeError: for a file that does not say statements, with what is wrong.
    """
    text = file.read_text(encoding="utf-8")
    content = yaml.load(text, Loader=LOADER)
    lines = _lines_of_statements(yaml.compose(text, Loader=LOADER))
    try:
        for chapter in content.values():
            for statement in chapter["statements"]:
                statement["line"] = next(lines)
        told = TypeAdapter(dict[str, Chapter]).validate_python(content)
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        raise RecipeError(f"{file.name}: {error}") from None
    ids = [statement.id for chapter in told.values() for statement in chapter.statements]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise RecipeError(f"{file.name}: told twice: {', '.join(sorted(twice))}")
    return told


def _lines_of_statements(root: yaml.Node | None) -> Iterator[int]:
    """The line that each statement begins on, in their order."""
    for _, chapter in root.value if isinstance(root, yaml.MappingNode) else ():
        for key, listed in chapter.value:
            if key.value == "statements":
                yield from (node.start_mark.line + 1 for node in listed.value)


def roles(recipe: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """The paper's runs in a recipe: ``$fundamental`` and the like to its run and that run's phase. The first run that
    learns from text is the fundamental one, the first of another phase the decay.
    """
    runs = recipe.get("runs")
    mixtures, align = recipe.get("mixture") or {}, recipe.get("align") or {}
    assert isinstance(runs, dict) and isinstance(mixtures, dict) and isinstance(align, dict)
    found: dict[str, tuple[str, str]] = {}
    counted = {"sft": 0, "dpo": 0}
    for name, run in runs.items():
        phase = run["phase"]
        if phase in mixtures:
            first = found.get("$fundamental", (name, phase))
            role = "fundamental" if first[1] == phase else "decay"
        else:
            kind = next((k for k in counted if phase in (align.get(k) or {})), "")
            if not kind:
                continue
            counted[kind] += 1
            role = f"{kind}_{counted[kind]}"
        found.setdefault(f"${role}", (name, phase))
    return found
