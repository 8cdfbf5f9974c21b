"""The two that are compared: a run as it is or once was, or a whole build; and everything that they were made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from neo_assets.core.ancestry import Pair, behind
from neo_assets.core.errors import BadInput, MissingUpstream, did_you_mean
from neo_assets.core.store import Artifact, Store
from neo_assets.core.trainings import names_of, trained_run

_FINGERPRINT = re.compile(r"[0-9a-f]{8,32}")
OF_RUNS = ("checkpoint/", "hf_model/", "eval_scores/")
"""Artifacts of single steps: a run has many, and its manifest says what counts of them."""


@dataclass(frozen=True)
class Side:
    """``of``: what it was made of, the nearest of each name. ``run`` and ``trained`` are empty for a build."""

    called: str
    recipe: str
    run: str
    trained: Artifact | None
    of: dict[str, Artifact] = field(default_factory=dict)
    gone: set[Pair] = field(default_factory=set)

    @property
    def streams(self) -> list[Artifact]:
        """What it read: the stream of a run; of a build, all."""
        if self.trained is None:
            return [made for name, made in self.of.items() if name.startswith("token_shards/")]
        read = self.trained.manifest.made_from.inputs
        return [self.of[name] for name in read if name.startswith("token_shards/") and name in self.of]


def side_of(store: Store, mine: str, text: str) -> Side:
    """``main``, ``other_recipe:main``, ``main@ec710afd`` (a run by its fingerprint, whoever has it now), or the name of
    a recipe, which is its whole build.

    Raises:
        BadInput, MissingUpstream: there is none; says what is there.
    """
    recipe, _, name = text.rpartition(":")
    run, _, fingerprint = name.partition("@")
    recipe = recipe or mine
    if recipe not in store.recipes():
        raise BadInput(f"this store holds no build of a recipe '{recipe}'.{did_you_mean(recipe, store.recipes())}")
    heads = store.heads(recipe)
    if fingerprint:
        trained = _run_by(store, run, fingerprint)
        return _made(store, Side(text, recipe, run, trained), [(trained.key, trained.fingerprint)])
    pointer = next((heads[key] for key in names_of(run) if key in heads), None)
    if pointer is None and text in store.recipes():
        return _made(store, Side(text, text, "", None), [at for n, at in store.heads(text).items() if "@" not in n])
    made = store.find(*pointer) if pointer else None
    if made is None:
        known = [known for key in heads if (known := trained_run(key))]
        raise MissingUpstream(
            f"recipe '{recipe}' has no run '{run}' that has ended; it has {', '.join(known) or 'none'}. Builds of this"
            f" store: {', '.join(store.recipes())}"
        )
    return _made(store, Side(text, recipe, run, made), [(made.key, made.fingerprint)])


def _run_by(store: Store, run: str, fingerprint: str) -> Artifact:
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise BadInput(
            f"'{fingerprint}' is no fingerprint of a run: 8 hexadecimal digits or more, as `neo jobs` has it"
        )
    for key in names_of(run):
        store.learn(key)
        for folder in sorted((store.root / key).glob(f"{fingerprint}*")):
            if (made := store.find(key, folder.name)) is not None:
                return made
    raise MissingUpstream(f"this store has no ended run '{run}' {fingerprint}")


def _made(store: Store, side: Side, roots: list[Pair]) -> Side:
    """With everything behind it; of several of a name, the one that was made of the others."""
    found, gone = behind(store, roots)
    of = {key: made for (key, _), made in found.items() if not key.startswith(OF_RUNS)}  # the later replace the earlier
    return Side(side.called, side.recipe, side.run, side.trained, of, gone)
