"""Read a recipe file: inheritance, variables, validation with the line of the mistake, and a JSON schema for editors.

``extends: other`` names a recipe beside the file, or one that is shipped; mappings merge key by key, anything else
replaces. ``like: other`` does the same between two runs of one recipe. ``‹recipe›.branches.yaml``, which ``neo
continue`` writes, lies over the recipe's runs. ``${VAR}`` and ``${VAR:-default}`` are filled in inside strings; only
fields that are no part of an identity (paths) should use them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import Field, ValidationError, model_validator

from neo_assets.core.errors import RecipeError, did_you_mean
from neo_assets.core.recipe.align import Align
from neo_assets.core.recipe.base import Lang, Name, Named, Section, identity
from neo_assets.core.recipe.data import (
    Clean,
    Convert,
    Decontamination,
    Documents,
    Extract,
    HighQuality,
    LineDedup,
    Mixture,
    NearDedup,
    PersonalData,
    Split,
    SubstringDedup,
)
from neo_assets.core.recipe.evaluation import Evaluation, First, languages_of
from neo_assets.core.recipe.model import Compute, Tokenizer
from neo_assets.core.recipe.run import Run
from neo_assets.core.recipe.scaling import Scaling
from neo_assets.core.recipe.sources import Source
from neo_assets.core.recipe.steps import FIRST, SHIPPED, WITHOUT_SETTINGS, check_line, module_of_step, told_in_lines

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


class Recipe(Section):
    """A whole model, from its sources to its scores."""

    name: Name
    description: str
    owner: str = Field(
        description="who answers for these artifacts; shown in the UI, as team:‹name› or an e-mail address"
    )
    languages: list[Lang] = Field(min_length=1)
    sources: Named[Source] = Field(min_length=1)
    extract: Extract
    convert: Convert = Field(default_factory=lambda: Convert.model_validate({}))
    documents: Documents
    clean: Clean
    steps: Named[list[str]] = Field(
        description=(
            "by language: the cleaning steps in order, from the rules on; each reads what the one before left. A step"
            " that is a file of its own has its settings in its line: `{my_step: {min_letters: 3}}`"
        )
    )
    step_settings: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="by language and step: filled in from the lines of `steps`"
    )
    near_dedup: Named[NearDedup]
    line_dedup: Named[LineDedup] = Field(default_factory=dict)
    substring_dedup: Named[SubstringDedup] = Field(default_factory=dict)
    pii_masked: Named[PersonalData] = Field(default_factory=dict)
    decontaminated: Named[Decontamination] = Field(default_factory=dict)
    high_quality: Named[HighQuality] = Field(
        default_factory=dict,
        description="by language; what is recalled can be read more often (mixture.‹phase›.recalled_rounds)",
    )
    heldout: Split
    mixture: Named[Mixture] = Field(min_length=1)
    tokenizer: Tokenizer
    runs: Named[Run] = Field(min_length=1)
    align: Align | None = Field(None, description="conversations and preferences, and how they are learnt")
    scaling: Scaling | None = Field(None, description="a series of small runs, laws of the loss, and a forecast")
    evaluation: Evaluation
    compute: Compute

    @model_validator(mode="before")
    @classmethod
    def _lines_of_steps(cls, content: object) -> object:
        if not isinstance(content, dict) or "steps" not in content:
            return content
        names, given = told_in_lines(content["steps"])
        return {**content, "steps": names, **({"step_settings": given} if given else {})}

    @model_validator(mode="after")
    def _names_agree(self) -> Recipe:
        for lang in self.languages:
            if getattr(self.clean, lang, None) is None:
                if lang in type(self.clean).model_fields:
                    raise ValueError(f"languages lists '{lang}', but clean.{lang} is not there")
                raise ValueError(f"languages lists '{lang}', for which there are no rules (docs/howto.md, A language)")
            for name, given in self.evaluation.heldout:
                if isinstance(given, dict) and lang not in given:
                    raise ValueError(f"evaluation.heldout.{name} has no '{lang}', which is one of languages")
            steps = self.steps.get(lang, [])
            if steps[:1] != [FIRST] or len(set(steps)) < len(steps):
                raise ValueError(f"steps.{lang} must begin with {FIRST} and name each step once; it is {steps}")
            for place, step in enumerate(steps):
                if step in SHIPPED and step not in WITHOUT_SETTINGS and lang not in getattr(self, step):
                    raise ValueError(f"steps.{lang} names {step}, but {step}.{lang} is not there")
                if step not in SHIPPED or step in self.step_settings.get(lang, {}):
                    check_line(lang, place, step, self.step_settings.get(lang, {}).get(step))
        for phase, mixture in self.mixture.items():
            for lang in sorted(set(mixture.recalled_rounds) - set(self.high_quality)):
                raise ValueError(
                    f"mixture.{phase}.recalled_rounds names '{lang}', but high_quality.{lang} is not there"
                )
            for lang in sorted(mixture.languages - set(self.languages)):
                raise ValueError(f"mixture.{phase} names '{lang}', which is not in languages {self.languages}")
            for source in sorted(mixture.sources - set(self.sources)):
                raise ValueError(
                    f"mixture.{phase} names '{source}', which is not in sources ({', '.join(self.sources)})"
                )
        for name, run in self.runs.items():
            if run.phase not in self.mixture:
                raise ValueError(
                    f"runs.{name}.phase is '{run.phase}', which is not in mixture ({', '.join(self.mixture)})"
                )
        for kind in ("instructions", "preferences"):
            for name, told in (getattr(self.align, kind) if self.align else {}).items():
                if told.lang not in self.languages:
                    raise ValueError(f"align.{kind}.{name}.lang is '{told.lang}', which is not in languages")
        for where, task in self.evaluation.named():
            if languages_of(task, self.evaluation) is None:
                raise ValueError(
                    f"evaluation.{where} names '{task}'.{did_you_mean(task, self.evaluation.benchmarks)} No benchmark"
                    " is called that, and held-out documents give bits_per_byte_‹lang›, next_sentence_‹lang›,"
                    " cloze_‹lang› and translation_‹lang›_‹lang›"
                )
        return self

    @model_validator(mode="after")
    def _series_fits(self) -> Recipe:
        if self.scaling is None:
            return self
        for field in ("base", "target"):
            if (run := getattr(self.scaling, field)) not in self.runs:
                raise ValueError(f"scaling.{field} names run '{run}', which is not in runs ({', '.join(self.runs)})")
        for name, size in self.scaling.sizes.items():
            if name in self.runs:
                raise ValueError(f"scaling.sizes.{name} has the name of a run; sizes are runs, too")
            try:
                self.scaling.run_of(size, self.runs[self.scaling.base])
            except ValidationError as error:
                raise ValueError(f"scaling.sizes.{name}: {error.errors()[0]['msg']}") from None
        return self

    @cached_property
    def series(self) -> dict[str, Run]:
        """Runs of the scaling series, by the names of their sizes."""
        if self.scaling is None:
            return {}
        base = self.runs[self.scaling.base]
        return {name: self.scaling.run_of(size, base) for name, size in self.scaling.sizes.items()}

    @property
    def all_runs(self) -> dict[str, Run]:
        """Those of the recipe, then those of its series."""
        return {**self.runs, **self.series}

    @model_validator(mode="after")
    def _parents_are_there(self) -> Recipe:
        for name, run in self.runs.items():
            if run.parent is None:
                continue
            parent = self.runs.get(run.parent.run)
            if parent is None:
                raise ValueError(
                    f"runs.{name}.parent names run '{run.parent.run}', which is not in runs ({', '.join(self.runs)})"
                )
            if parent.model != run.model:
                raise ValueError(f"runs.{name} starts from '{run.parent.run}', but its model has another shape")
            if run.parent.fingerprint is None and run.parent.step not in (None, *parent.checkpoint_steps()):
                raise ValueError(
                    f"runs.{name}.parent.step is {run.parent.step}; '{run.parent.run}' has checkpoints at"
                    f" {_some(parent.checkpoint_steps())}"
                )
            self.ancestors(name)
        return self

    def parent_of(self, run: str) -> str | None:
        """The run that another starts from, as this recipe has it; None for a start from scratch, or from a run as it
        once was.
        """
        parent = self.all_runs[run].parent
        return parent.run if parent and parent.fingerprint is None else None

    def ancestors(self, run: str) -> list[str]:
        """The runs that lead to this one, nearest first. Raises ValueError where they go in a circle."""
        found: list[str] = []
        at = self.parent_of(run)
        while at is not None:
            if at == run or at in found:
                raise ValueError(f"runs.{run}: its parents go in a circle ({' <- '.join([run, *found, at])})")
            found.append(at)
            at = self.parent_of(at)
        return found

    def asked(self, suites: list[str] | None = None) -> dict[str, First | None]:
        """Tasks of these suites (those that every due checkpoint is asked, if left out) by the name their scores get,
        each once, in the recipe's languages.

        The value says how many items are asked, where not all.
        """
        return {name: first for name, first, listed in self._entries(suites) if listed}

    def of_other_languages(self) -> set[str]:
        """Names of what suites would ask, were their languages among the recipe's."""
        return {name for name, _, listed in self._entries(list(self.evaluation.suites)) if not listed}

    def _entries(self, suites: list[str] | None) -> Iterator[tuple[str, First | None, bool]]:
        """(name of the scores, how many items where not all, whether its languages are the recipe's)."""
        for _, entry in self.evaluation.entries(suites):
            task, name, first = (entry, entry, None) if isinstance(entry, str) else (entry.task, entry.name, entry)
            yield name, first, set(languages_of(task, self.evaluation) or []) <= set(self.languages)

    def settings_of(self, step: str, lang: str) -> object:
        """What the recipe says of a cleaning step of a language: its section, or what its line gives."""
        if step in SHIPPED:
            return getattr(self, step, {}).get(lang)
        return self.step_settings.get(lang, {}).get(step)

    def before(self, step: str, lang: str) -> str:
        """The artifact that a cleaning step of a language reads."""
        steps = self.steps[lang]
        return f"{steps[steps.index(step) - 1]}/{lang}"

    def makes(self, name: str) -> bool:
        """Whether a cleaning artifact (``step/language``) is one of this recipe's; other names are not judged."""
        step, _, lang = name.partition("/")
        return module_of_step(step) is None or (lang in self.languages and step in self.steps[lang])

    def cleaned(self, lang: str) -> str:
        """The artifact that a language's last cleaning step makes."""
        return f"{self.steps[lang][-1]}/{lang}"


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
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(_explain(error, content, lines, path)) from None


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


def _some(steps: list[int]) -> str:
    return ", ".join(map(str, steps)) if len(steps) <= 12 else f"{', '.join(map(str, steps[:8]))} … {steps[-1]}"


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
