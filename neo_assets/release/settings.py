"""Whether a release's recipe is the one that its manifests were made with, section by section.

Every step takes one section of the recipe, and its manifest holds it: a forged threshold is one that no step had. What
the recipe says of other things (who publishes it, where jobs run, runs that did not lead to this model) is in no
manifest, and is said to be only claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.manifest import Manifest
from neo_assets.core.why import changed, flat, told_values
from neo_assets.release import layout
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, SHOWN, Bundle, Claim

CLAIM = "recipe/recipe.yaml has the settings that every step was made with"
OF_EACH = {
    "raw_crawl": ("", "sources.{}"),
    "page_text": ("extract", "extract"),
    "pdf_text": ("convert", "convert"),
    "documents": ("documents", "documents"),
    "clean_docs": ("", "clean.{}"),
    "hq_classifier": ("settings", "high_quality.{}"),
    "matrix": ("languages", "languages"),
    "heldout": ("split", "heldout"),
    "train_pool": ("split", "heldout"),
    "mixture": ("mixture", "mixture.{}"),
    "tokenizer": ("tokenizer", "tokenizer"),
    "pretraining": ("run", "runs.{}"),
    "heldout_tasks": ("tasks", "evaluation.heldout"),
    "benchmark_items": ("benchmarks", "evaluation.benchmarks"),
    "comparison": ("gates", "evaluation.gates"),
}
"""By kind of artifact: which part of its config ("" for all of it) is which section of the recipe; ``{}`` is what
follows its name. Cleaning steps are told by the recipe's own list of them.
"""


def settings(bundle: Bundle) -> Iterator[Claim]:
    """Compare both. Raises KeyError and others for a recipe that is none."""
    recipe: dict[str, Any] = yaml.safe_load((bundle.folder / layout.RECIPE).read_text(encoding="utf-8"))
    wrong = list(_steps(bundle, recipe))
    compared: set[str] = set()
    for key in sorted({key for key, _ in bundle.manifests}):
        kind, _, name = key.partition("/")
        told = OF_EACH.get(kind) or _of_a_step(recipe, kind, name)
        if told is None:
            continue
        section = told[1].format(name)
        compared.add(section)
        ours = _at(recipe, section)
        theirs = [_part(made, told[0]) for made in _made(bundle, key)]
        if digest_json(ours) not in map(digest_json, theirs):
            wrong.append(f"{layout.RECIPE}: {section} is not what {key} was made with ({_first(theirs[0], ours)})")
    if wrong:
        yield Claim(
            CLAIM, REFUTED, "; ".join(wrong[:SHOWN]) + (f"; {len(wrong) - SHOWN} more" if wrong[SHOWN:] else "")
        )
        return
    yield Claim(CLAIM, PROVEN, f"{len(compared)} sections, each as the manifests of its steps have it; and their order")
    known = {section.partition(".")[0] for section in compared} | {"steps", "step_settings"}
    rest = [name for name, value in recipe.items() if name not in known and value not in (None, {}, [])]
    rest += [f"evaluation ({', '.join(n for n in recipe['evaluation'] if f'evaluation.{n}' not in compared)})"]
    yield Claim("what else recipe/recipe.yaml says", CLAIMED, f"no step's manifest has it: {', '.join(rest)}")


def _made(bundle: Bundle, key: str) -> list[Manifest]:
    """Manifests of an artifact; of a run that goes on from itself as it was, the one that led to the model last."""
    there = {name: made for (at, name), made in bundle.manifests.items() if at == key}
    newest = next((there[p["run_fingerprint"]] for p in bundle.told["parts"] if p["run_fingerprint"] in there), None)
    return [newest] if newest is not None else list(there.values())


def _part(made: Manifest, field: str) -> object:
    return made.made_from.config.get(field) if field else made.made_from.config


def _of_a_step(recipe: dict[str, Any], kind: str, lang: str) -> tuple[str, str] | None:
    """A cleaning step's settings: a section of its name, or what its line in the recipe holds; none of one that has
    neither.
    """
    if kind not in recipe["steps"].get(lang, []):
        return None
    for section in (f"{kind}.{lang}", f"step_settings.{lang}.{kind}"):
        if _at(recipe, section) is not None:
            return "settings", section
    return None


def _at(recipe: dict[str, Any], section: str) -> Any:
    value: Any = recipe
    for name in section.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _first(theirs: object, ours: object) -> str:
    differing = changed(flat(theirs), flat(ours))
    name, values = next(iter(differing.items()), ("", ("", "")))
    return f"{name}: {' -> '.join(told_values(*values))}"


def _steps(bundle: Bundle, recipe: dict[str, Any]) -> Iterator[str]:
    """Cleaning steps of each language in the recipe's order: each made of what the one before left."""
    inputs = {key: set(made.made_from.inputs) for (key, _), made in bundle.manifests.items()}
    for lang, names in recipe["steps"].items():
        chain = [f"{name}/{lang}" for name in names]
        ends = {key for key in inputs.get("matrix", set()) if key.endswith(f"/{lang}")}
        if ends and ends != {chain[-1]}:
            yield f"{layout.RECIPE}: steps.{lang} ends with {chain[-1]}, matrix was made of {', '.join(sorted(ends))}"
        for before, step in pairwise(chain):
            if step in inputs and before not in inputs[step]:
                yield f"{layout.RECIPE}: steps.{lang} has {step} after {before}, which it was not made of"
            if step not in inputs:
                yield f"{layout.RECIPE}: steps.{lang} has {step}, whose manifest is not here"
        made = {key for key in inputs if key.endswith(f"/{lang}") and key.partition("/")[0] in _CLEANING}
        for step in sorted(made - set(chain)):
            yield f"{layout.RECIPE}: steps.{lang} lacks {step.partition('/')[0]}, which was made"


_CLEANING = (
    "clean_docs", "exact_dedup", "near_dedup", "line_dedup", "substring_dedup", "pii_masked", "decontaminated",
)  # fmt: skip
