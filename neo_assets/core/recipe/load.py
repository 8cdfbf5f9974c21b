"""Read a recipe file: inheritance, variables, validation with the line of the mistake, and a JSON schema for editors.

``extends: other`` names a recipe beside the file, or one that is shipped; mappings merge key by key, anything else
replaces. ``like: other`` does the same between two runs of one recipe. ``‹recipe›.branches.yaml``, which ``neo
continue`` writes, lies over the recipe's runs. ``${VAR}`` and ``${VAR:-default}`` are filled in inside strings; only
fields that are no part of an identity (paths) should use them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from neo_assets.core.errors import RecipeError
from neo_assets.core.recipe.base import identity
from neo_assets.core.recipe.whole import Recipe
from neo_assets.core.recipe.written import WrittenIn

__all__ = ["DEFAULT_RECIPE", "RECIPES", "Recipe", "identity", "json_schema", "load"]

BRANCHES = ".branches.yaml"
RECIPES = Path(__file__).resolve().parents[3] / "recipes"
DEFAULT_RECIPE = "laptop"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

Location = tuple[str | int, ...]
_MESSAGES = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "union_tag_not_found": "its kind is missing",
    "model_attributes_type": "must be a section",
}


def load(name: str | None = None) -> Recipe:
    """The recipe called ``name`` (or ``$NEO_RECIPE``, or 'laptop'), or the one in the file ``name`` if that is a path.

    Raises:
        RecipeError: unknown recipe, YAML that cannot be read, or fields that are unknown, missing or wrong; each with
            its line.
    """
    path, content, lines = _read(name)
    # Builds and Dagster instances are kept by name: two recipes of one name would overwrite each other's records.
    own = path.stem.replace("-", "_")
    if content.setdefault("name", own) != own:
        raise RecipeError(
            f"{lines[('name',)]}: name is '{content['name']}', but the file is {path.name}: call it '{own}', or leave"
            " the name out"
        )
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(_explain(error, content, lines, path)) from None
    return recipe.read_from(WrittenIn(lines, _files_of(path, lines)))


def _files_of(path: Path, lines: Mapping[Location, str]) -> dict[str, Path]:
    """The files that lines are of, by name."""
    names = {line.rpartition(":")[0] for line in lines.values()}
    return {n: next((p for p in (path.parent / n, RECIPES / n) if p.is_file()), path) for n in names}


def written_at(name: str | None = None) -> Callable[[str], str]:
    """Where the user wrote a field of a recipe, named like ``sources.ours.paths``: file and line of it, or of the
    nearest section that is written at all.
    """
    path, _, lines = _read(name)

    def where(field: str) -> str:
        location: Location = tuple(field.split("."))
        while location and location not in lines:
            location = location[:-1]
        return lines.get(location, path.name)

    return where


def _read(name: str | None) -> tuple[Path, dict[str, object], dict[Location, str]]:
    """A recipe's file, what it says with all that it extends, and the line of every field."""
    name = name or os.environ.get("NEO_RECIPE") or DEFAULT_RECIPE
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(names())
        raise RecipeError(f"there is no recipe '{name}' ({path}); there are: {known}")
    content, lines = _merged(path, ())
    content, lines = _with_branches(content, lines, path)
    content["runs"] = _alike(content.get("runs"), lines)
    return path, content, lines


def names() -> list[str]:
    """Recipes that are there, by name. A file that begins with ``_`` is a part for others to extend."""
    return sorted(
        p.stem for p in RECIPES.glob("*.yaml") if not p.name.endswith(BRANCHES) and not p.name.startswith("_")
    )


def json_schema() -> dict[str, object]:
    """JSON schema of a recipe file, for completion and checks in editors."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "a recipe beside this file whose values are taken over",
    }
    schema.pop("required", None)
    schema["properties"].pop("step_settings")
    for lines in schema["properties"]["steps"]["patternProperties"].values():
        lines["items"] = {"anyOf": [lines["items"], {"type": "object"}]}
    run = schema["$defs"]["Run"]
    run["properties"]["like"] = {"type": "string", "description": "a run of this recipe whose values are taken over"}
    run.pop("required", None)
    return schema


def _with_branches(
    content: dict[str, object], lines: dict[Location, str], path: Path
) -> tuple[dict[str, object], dict[Location, str]]:
    """The recipe with what `neo continue` recorded for it laid over its runs."""
    branches = path.with_name(path.stem + BRANCHES)
    if not branches.is_file():
        return content, lines
    added, added_lines = _merged(branches, ())
    if set(added) != {"runs"}:
        raise RecipeError(f"{branches.name}: holds runs, and nothing else")
    replaced: list[Location] = []
    merged = _overlay(content, added, (), replaced)
    return merged, {
        **{where: line for where, line in lines.items() if not any(where[: len(r)] == r for r in replaced)},
        **added_lines,
    }


def _alike(runs: object, lines: dict[Location, str]) -> object:
    """Runs with what they take over from each other (``like``) filled in."""
    if not isinstance(runs, dict):
        return runs
    done: dict[str, object] = {}

    def resolve(name: str, waiting: tuple[str, ...]) -> object:
        run = runs[name]
        if name in done or not isinstance(run, dict) or "like" not in run:
            return done.setdefault(name, run)
        other, where = run["like"], lines.get(("runs", name, "like"), "?")
        if runs.get(other) is None:
            raise RecipeError(f"{where}: like '{other}', but there is no such run; there are: {', '.join(runs)}")
        if other in (*waiting, name):
            raise RecipeError(
                f"{where}: runs that are like each other in a circle ({' -> '.join((*waiting, name, str(other)))})"
            )
        base = resolve(str(other), (*waiting, name))
        own = {k: v for k, v in run.items() if k != "like"}
        # Where a run starts from is its own affair, and so is when it is evaluated.
        taken = (
            {k: v for k, v in base.items() if k not in ("parent", "from_model", "evaluate_at")}
            if isinstance(base, dict)
            else {}
        )
        for where_base, line in list(lines.items()):
            if where_base[:2] == ("runs", other) and len(where_base) > 2:
                lines.setdefault(("runs", name, *where_base[2:]), line)
        return done.setdefault(name, _overlay(taken, own, ("runs", name), []))

    return {name: resolve(name, ()) for name in runs if runs[name] is not None}


def _merged(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, object], dict[Location, str]]:
    """Content of a recipe file over what it extends, and where ("file:line") each location was written."""
    if path in seen:
        raise RecipeError(" extends ".join(p.name for p in (*seen, path)) + ": a recipe cannot extend itself")
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path.name}: not YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError(f"{path.name}: a recipe is a mapping of sections")
    lines: dict[Location, str] = {}
    content = _construct(root, (), path, lines)
    assert isinstance(content, dict)
    parent = content.pop("extends", None)
    if parent is None:
        return content, lines
    content.setdefault("description", f"{path.stem}, on top of {parent}")
    parent_path = next(
        (p for p in (path.parent / f"{parent}.yaml", RECIPES / f"{parent}.yaml") if p.is_file()),
        path.parent / f"{parent}.yaml",
    )
    if not parent_path.is_file():
        raise RecipeError(f"{lines[('extends',)]}: extends '{parent}', but {parent_path.name} is not there")
    base, base_lines = _merged(parent_path, (*seen, path))
    base.pop("name", None)  # a recipe is called what its own file is called
    replaced: list[Location] = []
    merged = _overlay(base, content, (), replaced)
    kept = {where: line for where, line in base_lines.items() if not any(where[: len(r)] == r for r in replaced)}
    return merged, {**kept, **lines}


def _construct(node: yaml.Node, location: Location, path: Path, lines: dict[Location, str]) -> object:
    lines.setdefault(location, f"{path.name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        out: dict[str, object] = {}
        given: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            where = f"{path.name}:{key_node.start_mark.line + 1}"
            if key in given:
                raise RecipeError(f"{where}: '{key}' is given twice")
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = _construct(value_node, location, path, lines)
                if not isinstance(merged, dict):
                    raise RecipeError(f"{where}: '<<' takes a mapping over, and this is none")
                out = {**merged, **out}
                continue
            given.add(key)
            lines[(*location, key)] = where
            out[key] = _construct(value_node, (*location, key), path, lines)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*location, i), path, lines) for i, child in enumerate(node.value)]
    value = yaml.SafeLoader("").construct_object(node)  # type: ignore[no-untyped-call]
    return _fill_in(value, lines[location]) if isinstance(value, str) else value


def _fill_in(text: str, where: str) -> str:
    def replace(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], match[2])
        if value is None:
            raise RecipeError(
                f"{where}: ${{{match[1]}}} is not set in the environment; set it, or give a default:"
                f" ${{{match[1]}:-...}}"
            )
        return value

    return _VARIABLE.sub(replace, text)


def _overlay(
    base: dict[str, object], top: dict[str, object], at: Location, replaced: list[Location]
) -> dict[str, object]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        # A section of another kind (a source that was a folder and is now a crawl) replaces, it does not mix.
        if (
            isinstance(below, dict)
            and isinstance(value, dict)
            and value.get("kind", below.get("kind")) == below.get("kind")
        ):
            merged[key] = _overlay(below, value, (*at, key), replaced)
        else:
            merged[key] = value
            replaced.append((*at, key))
    return merged


def _in_file(told: Location, content: object) -> Location:
    """A place as the file has it: after a section with a kind pydantic puts that kind, which is no level of a file, and
    neither is the kind of a section that does not say one.
    """
    out: list[str | int] = []
    section, of_kind = content, False
    for i, part in enumerate(told):
        if isinstance(section, dict) and "kind" not in section and part not in section and i + 1 < len(told):
            continue
        if not of_kind and isinstance(section, dict) and section.get("kind") == part:
            of_kind = True
            continue
        out.append(part)
        of_kind = False
        if isinstance(section, dict):
            section = section.get(part)
        else:
            section = section[part] if isinstance(section, list) and isinstance(part, int) else None
    return tuple(out)


def _explain(error: ValidationError, content: object, lines: dict[Location, str], path: Path) -> str:
    out = []
    for problem in error.errors():
        location = _in_file(problem["loc"], content)
        message = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        # What two sections must agree on is told of the whole recipe, and begins with the place.
        known = location or tuple(
            int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]:]+", message.partition(" ")[0])
        )
        while known and known not in lines:
            known = known[:-1]
        where = lines.get(known, path.name)
        field = ".".join(str(p) for p in location) or "recipe"
        if problem["type"] == "union_tag_invalid":
            message = f"kind '{problem['ctx']['tag']}' is none of {problem['ctx']['expected_tags']}"
        given = (
            f" (given: {problem['input']!r})"
            if problem["type"] not in ("missing", "extra_forbidden") and not isinstance(problem["input"], dict | list)
            else ""
        )
        out.append(f"{where}: {field}: {message}{given}")
    return "\n".join(out)
