"""Kinds that are a file of their own: a source, a benchmark, a cleaning step or a backend that the recipe names and no
shipped section knows.

Shipped kinds have their sections in ``core/recipe``: a recipe loads without the libraries that their work needs.
Another kind is found by the name of its file, which tells its settings and its work in one statement
(``SOURCE = …``); it is imported when a recipe that names it is loaded.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Collection

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe.base import Section


@functools.cache
def module_telling(package: str, name: str, word: str) -> str | None:
    """The module ``‹package›.‹name›``, if its file tells something under ``word``."""
    file = ROOT.joinpath(*package.split("."), f"{name}.py")
    if name.isidentifier() and file.is_file() and f"\n{word} = " in file.read_text(encoding="utf-8"):
        return f"{package}.{name}"
    return None


def told(package: str, name: str, word: str) -> object:
    """What that module tells. Raises ModuleNotFoundError."""
    module = module_telling(package, name, word)
    if module is None:
        raise ModuleNotFoundError(f"no file {name}.py in {package.replace('.', '/')} with a {word} in it")
    return getattr(importlib.import_module(module), word)


def or_of_its_own_file(base: type[Section], shipped: Collection[str], package: str, word: str) -> WrapValidator:
    """Sections of the shipped kinds, or of one that a file in ``package`` tells: ``‹word› = Kind(settings, …)``, with
    ``settings`` a subclass of ``base``.
    """

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        if isinstance(value, base) and getattr(value, "kind", None) not in shipped:
            return value
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind not in shipped and module_telling(package, kind, word):
            settings: type[Section] = told(package, kind, word).settings  # type: ignore[attr-defined]
            return settings.model_validate(value)
        return handler(value)

    return WrapValidator(validate)
