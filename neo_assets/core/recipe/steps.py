"""The recipe's lines of cleaning steps: ``steps: {en: [clean_docs, near_dedup, {my_step: {min_letters: 3}}]}``.

A shipped step's settings are a section of the recipe, by language; those of a step that is a file of its own stand in
its line. A line is checked when the recipe is loaded, which is when such a step's file is imported; shipped ones are
not, so that a recipe loads without the libraries that cleaning needs.
"""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

from pydantic import ValidationError

from neo_assets.core.errors import did_you_mean
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.kinds import module_telling

CLEANING_ROOMS = ("clean", "dedup", "quality")
"""Rooms that a step's file may lie in."""
FIRST = "clean_docs"
SHIPPED = (FIRST, "exact_dedup", "near_dedup", "line_dedup", "substring_dedup", "pii_masked", "decontaminated")
"""Steps whose settings have a section in the recipe."""
WITHOUT_SETTINGS = (FIRST, "exact_dedup")


def module_of_step(name: str) -> str | None:
    """The module that tells a step (``clean_docs`` is told by its room); None where no file of that name has a
    ``STEP``.
    """
    if name == FIRST:
        return f"neo_assets.clean.{FIRST}"
    found = (module_telling(f"neo_assets.{room}", name, "STEP") for room in CLEANING_ROOMS)
    return next((module for module in found if module), None)


def told_in_lines(steps: object) -> tuple[object, dict[str, dict[str, object]]]:
    """Steps by language as names alone, and the settings given in their lines, by language and step."""
    if not isinstance(steps, dict):
        return steps, {}
    names: dict[object, object] = {}
    given: dict[str, dict[str, object]] = {}
    for lang, lines in steps.items():
        names[lang] = lines
        if isinstance(lines, list):
            names[lang] = [next(iter(line)) if isinstance(line, dict) and len(line) == 1 else line for line in lines]
            found = {str(k): v for line in lines if isinstance(line, dict) and len(line) == 1 for k, v in line.items()}
            given |= {str(lang): found} if found else {}
    return names, given


def check_line(lang: str, place: int, name: str, given: object) -> None:
    """Raises ValueError, with the place in the recipe, for what is no step and for settings that it does not take."""
    where = f"steps.{lang}[{place}]"
    module = module_of_step(name)
    if module is None:
        raise ValueError(
            f"{where} names {name!r}.{did_you_mean(name, SHIPPED)} Steps are {', '.join(SHIPPED)}, or a file"
            f" {name}.py with a STEP in neo_assets/{', '.join(CLEANING_ROOMS)}"
        )
    try:
        settings: type[Section] | None = None if name == FIRST else importlib.import_module(module).STEP.settings
    except Exception as error:  # whatever a file of somebody's own may do when it is imported
        raise ValueError(f"{where} names {name!r}, whose file cannot be read: {_place(error)}") from error
    if settings is None:
        if given:
            raise ValueError(f"{where}.{name} takes no settings in its line")
        return
    try:
        settings.model_validate(given or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in (f"{where}.{name}", *first["loc"]))
        raise ValueError(f"{field}: {first['msg']}") from None


def _place(error: Exception) -> str:
    """What went wrong in a file, and where: its own last line, not the one here that imported it."""
    frames = traceback.extract_tb(error.__traceback__)
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else frames[-1][:2]
    return f"{Path(str(file)).name}:{line}: {type(error).__name__}: {error}"
