"""`neo continue`: going on with a run under other code, another world size or batch, or without some steps, as a
recorded branch.

A branch is data like any run: a few lines in ``‹recipe›.branches.yaml`` beside the recipe, to be read, kept under
version control and taken out again. Its identity holds the checkpoint it starts from, so lineage shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from neo_assets.core import records
from neo_assets.core.errors import BadInput, NeoError
from neo_assets.core.jobs import ALIVE
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.load import BRANCHES
from neo_assets.runs.found_runs import FoundRun

HEADER = """# Branches of training runs, as `neo continue` recorded them; they lie over the recipe's own runs. Each says what it starts from and why.
# Keep this file with the recipe. Taking an entry out takes the branch out of the recipe; what it made stays in the store.
"""  # noqa: E501


def branch_entry(
    run: FoundRun, step: int, changes: Mapping[str, object], without: tuple[int, int] | None, because: str
) -> dict[str, object]:
    """The lines of a branch: what differs from the run, and the checkpoint it starts from.

    Raises:
        BadInput: the steps to leave out lie before the checkpoint, or after the run.
    """
    reasons = [because] if because else []
    entry = dict(changes)
    if without is not None:
        first, last = without
        if not step < first <= last <= run.config.last_step:
            raise BadInput(
                f"steps {first}..{last} cannot be left out by a branch from step {step} of a run of"
                f" {run.config.last_step} steps"
            )
        samples = run.ledger().samples(first, last)
        entry["skip_samples"] = [*run.config.run.model_dump()["skip_samples"], [int(samples[0]), int(samples[-1]) + 1]]
        reasons.append(f"without what steps {first}..{last} of {run.config.run_fingerprint[:12]} saw")
    reasons += [f"{name} {value}" for name, value in changes.items()]
    parent = {"run": run.name, "fingerprint": run.config.run_fingerprint, "step": step, "take": "everything"}
    return {
        "parent": {**parent, "because": f"{time.strftime('%Y-%m-%d')}: {', '.join(reasons) or 'other code'}"},
        **entry,
    }


def record_branch(
    recipe_file: Path, name: str, entry: Mapping[str, object], like: str | None, load: Callable[[], object]
) -> Path:
    """Add or replace a branch in the recipe's file of branches. Returns that file; where the recipe does not ``load``
    with it, it is as it was.
    """
    file = recipe_file.with_name(recipe_file.stem + BRANCHES)
    before = file.read_text(encoding="utf-8") if file.is_file() else None
    content = yaml.safe_load(before) if before else None
    runs = dict((content or {}).get("runs", {}))
    earlier = runs.get(name, {}) if like is None else {}
    runs[name] = {**({"like": like} if like else {}), **earlier, **entry}
    records.write_text(file, HEADER + yaml.safe_dump({"runs": runs}, sort_keys=False, allow_unicode=True))
    try:
        load()
    except NeoError:
        file.unlink() if before is None else records.write_text(file, before)
        raise
    return file


def forget_branch(recipe_file: Path, name: str, load: Callable[[], object]) -> bool:
    """Take out of the recipe's file of branches that a run goes on from an earlier state of itself; whether it said
    so. What else is recorded of the run stays.
    """
    file = recipe_file.with_name(recipe_file.stem + BRANCHES)
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    runs = dict((yaml.safe_load(before) or {}).get("runs", {})) if before else {}
    parent = runs.get(name, {}).get("parent") or {}
    if parent.get("run") != name or parent.get("take") != "everything":
        return False
    left = {field: value for field, value in runs[name].items() if field != "parent"}
    runs = {run: entry for run, entry in (runs | {name: left}).items() if entry}
    records.write_text(file, HEADER + yaml.safe_dump({"runs": runs}, sort_keys=False, allow_unicode=True))
    try:
        load()
    except NeoError:
        records.write_text(file, before)
        raise
    return True


def changed_fields(settings: list[str]) -> dict[str, object]:
    """``field=value`` pairs as they would stand in the recipe. Raises BadInput."""
    out: dict[str, object] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadInput(
                f"'{text}': a change is written FIELD=VALUE, as in ranks_per_node=1 or schedule.peak_lr=1e-4"
            )
        inner, at = out, name.split(".")
        for part in at[:-1]:
            inner = inner.setdefault(part, {})  # type: ignore[assignment]
        inner[at[-1]] = yaml.safe_load(value)
    return out


def refuse_what_cannot_branch(recipe: Recipe, run: str, name: str | None, state: str) -> None:
    """Raises NeoError where the run is still at work, or the new name is taken."""
    if state in ALIVE:
        raise NeoError(
            f"run '{run}' is {state}: `neo pause {run}` first, so that the branch starts from all of its work"
        )
    if name is not None and name in recipe.all_runs:
        raise BadInput(
            f"there is a run '{name}' in recipe '{recipe.name}' already; give the branch another name with --as"
        )
