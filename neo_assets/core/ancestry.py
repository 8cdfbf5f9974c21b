"""What artifacts were made of, and what that was made of, down to the sources."""

from __future__ import annotations

from collections.abc import Iterable

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.store import Artifact, Store, read_manifest

Pair = tuple[str, str]
"""Key of an artifact, and the name of its folder: its fingerprint; of a checkpoint, its step and run."""


def behind(store: Store, roots: Iterable[Pair]) -> tuple[dict[Pair, Artifact], set[Pair]]:
    """(artifacts and everything that they were made of, each after that; what of it is not in the store any more)."""
    found: dict[Pair, Artifact] = {}
    gone: set[Pair] = set()
    inputs: dict[Pair, list[Pair]] = {}
    waiting = list(roots)
    while waiting:
        at = waiting.pop()
        if at in inputs or at in gone:
            continue
        store.learn(at[0])
        try:
            manifest = read_manifest(store.folder(*at))
            made = store.find(*at)
        except (OSError, DamagedArtifact):
            made = None
        if made is None:
            gone.add(at)
            continue
        inputs[at] = [(name, ref.fingerprint) for name, ref in manifest.made_from.inputs.items()]
        found[at] = made
        waiting += inputs[at]
    ordered: dict[Pair, Artifact] = {}

    def after(at: Pair) -> None:
        stack = [(at, iter(inputs.get(at, ())))]
        while stack:
            here, rest = stack[-1]
            below = next((one for one in rest if one in found and one not in ordered and one != here), None)
            if below is not None:
                stack.append((below, iter(inputs[below])))
                continue
            ordered[here] = found[here]
            stack.pop()

    for at in sorted(found):
        if at not in ordered:
            after(at)
    return ordered, gone
