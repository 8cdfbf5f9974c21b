"""What a round asks of its model besides its training, for `neo plan`: answers to draw, to reward and to compare."""

from __future__ import annotations

import os
from pathlib import Path

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import VLLM, VLLM_PYTHON, Generated, Guards
from neo_assets.core.store import Row, Store
from neo_assets.core.words import counted


def round_cost(recipe: Recipe, store: Store, run: str) -> Row:
    """Nothing for a run that writes no pairs of its own. How many prompts there are is known once the sets are made;
    until then it is told of one.
    """
    generated, guards = recipe.generated(run), recipe.guards(run)
    told: Row = {}
    if generated is not None:
        told["answers drawn"] = _drawn(recipe, store, generated)
        told["drawn by"] = _engine(generated)
        judge = generated.rewarded_by
        told["rewarded by"] = judge.run or judge.folder or f"the rule {judge.rule}"
    if guards is not None:
        told["answers compared, before and after"] = _compared(recipe, guards)
    if told:
        told["time of these"] = "not estimated; the time above is of training alone"
    return told


def _engine(generated: Generated) -> str:
    if generated.engine != VLLM:
        return "transformers"
    python = os.environ.get(VLLM_PYTHON)
    told = f"{VLLM_PYTHON} is {python}" if python else f"{VLLM_PYTHON} is not set"
    lacks = "" if python is None or Path(python).is_file() else ", which is not here"
    return f"vllm; here {told}{lacks}: what counts is what it is where the job runs"


def _drawn(recipe: Recipe, store: Store, generated: Generated) -> str:
    """Answers, and their tokens at most."""
    assert recipe.align is not None
    each, most = generated.samples, generated.max_tokens
    prompts, missing = 0, []
    for name, share in generated.prompts.items():
        pointer = store.head_pointer(recipe.name, recipe.align.kinds_of(name)[0])
        made = store.find(*pointer) if pointer else None
        if made is None:
            missing.append(f"{share:.0%} of the prompts of {name}")
        else:
            prompts += round(share * (made.manifest.rows_kept or 0))
    known = f"{each} to each of about {prompts:,} prompts, at most {prompts * each * most:,} tokens"
    if not missing:
        return known
    unknown = f"{each} to each of {', '.join(missing)}, at most {each * most:,} tokens a prompt"
    return f"{known}; {unknown}" if prompts else unknown


def _compared(recipe: Recipe, guards: Guards) -> str:
    items, langs = guards.items, len(recipe.languages)
    return (
        f"2 to each of at most {items:,} held-out prompts in {counted(langs, 'language')}, at most"
        f" {2 * items * langs * guards.max_tokens:,} tokens; {guards.documents:,} documents a language"
    )
