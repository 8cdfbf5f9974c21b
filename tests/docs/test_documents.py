"""What README and docs show can be typed: recipes load, commands and their options exist."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from neo_assets import build
from neo_assets.cli import COMMANDS, app
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import Recipe, load

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s;(]|\.venv/bin/)neo ((?:[a-z]+)(?:-[a-z]+)*)((?:[ \t]+[^\s#;|`]+)*)")


def recipes() -> list[tuple[str, str]]:
    """(document, recipe) of every block that is a whole recipe file."""
    return [
        (path.name, block)
        for path in DOCUMENTS
        for kind, block in BLOCK.findall(path.read_text(encoding="utf-8"))
        if kind == "yaml" and re.search(r"^extends: ", block, re.MULTILINE)
    ]


def commands() -> list[tuple[str, str, str]]:
    """(document, command, what follows it) of everything that is written as code and begins with `neo`."""
    out = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        code = [block for kind, block in BLOCK.findall(text) if kind in ("", "sh", "bash")]
        for piece in (*code, *SPAN.findall(BLOCK.sub("", text))):
            out += [(path.name, name, rest) for name, rest in COMMAND.findall(piece)]
    return out


def test_there_is_something_to_try() -> None:
    assert len(recipes()) >= 1 and len({name for _, name, _ in commands()}) >= 20


@pytest.mark.parametrize(("document", "recipe"), recipes())
def test_a_recipe_that_is_shown_loads_and_declares_its_stages(
    document: str, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (ROOT / "recipes").glob("*.yaml"):
        shutil.copyfile(path, tmp_path / path.name)
    shutil.copytree(ROOT / "recipes" / "published", tmp_path / "published")
    monkeypatch.setattr(sys.modules["neo_assets.core.recipe.load"], "RECIPES", tmp_path)
    named = re.search(r"^name: (\w+)", recipe, re.MULTILINE)
    name = named[1] if named else "shown"
    (tmp_path / f"{name}.yaml").write_text(recipe, encoding="utf-8")
    assert "factory_report" in build.stages(load(name)), document


def fragments() -> list[tuple[str, str]]:
    """(document, part of a recipe) of every block that shows sections of one: a line of … stands for the rest."""
    found = []
    for path in DOCUMENTS:
        for kind, block in BLOCK.findall(path.read_text(encoding="utf-8")):
            keys = set(re.findall(r"^(\w+):", block, re.MULTILINE))
            if kind == "yaml" and "extends" not in keys and keys <= set(Recipe.model_fields):
                found.append((path.name, re.sub(r"^ *…$", "", block, flags=re.MULTILINE)))
    return found


def test_every_block_of_yaml_is_tried_or_is_no_recipe() -> None:
    blocks = sum(kind == "yaml" for path in DOCUMENTS for kind, _ in BLOCK.findall(path.read_text(encoding="utf-8")))
    assert len(recipes()) + len(fragments()) == blocks - 1  # the workflow that asks models in CI


@pytest.mark.parametrize(("document", "fragment"), fragments())
def test_a_part_of_a_recipe_that_is_shown_loads_over_the_papers(
    document: str, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.setattr(sys.modules["neo_assets.core.recipe.load"], "RECIPES", tmp_path / "recipes")
    (tmp_path / "recipes" / "shown.yaml").write_text(f"extends: neo-7b\nname: shown\n{fragment}", encoding="utf-8")
    assert load("shown").runs, document


@pytest.mark.parametrize(("document", "name", "rest"), sorted(set(commands())))
def test_a_command_that_is_shown_is_there_with_its_options(document: str, name: str, rest: str) -> None:
    assert name in COMMANDS, f"{document}: neo {name}"
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, name)
    known = {option for parameter in command.params for option in parameter.opts}
    shown = {word.partition("=")[0] for word in rest.split() if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
    assert shown <= {*known, "--help"}, f"{document}: neo {name}{rest}"
