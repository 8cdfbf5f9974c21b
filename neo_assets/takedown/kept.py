"""Whether tombstones that a build honoured are still there: of the last of a chain, no later one would miss it."""

from __future__ import annotations

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.store import Store
from neo_assets.core.tombstones import FOLDER, begins_with
from neo_assets.core.withdrawn import KEY


def refuse_lost(store: Store) -> None:
    """Raises DamagedArtifact where a build of this store has seen tombstones that were changed or taken away since."""
    for recipe in store.recipes():
        pointer = store.head_pointer(recipe, KEY)
        made = store.find(*pointer) if pointer else None
        chain = str(made.manifest.numbers.get("chain") or "") if made else ""
        if chain and not begins_with(store.root, chain):
            raise DamagedArtifact(
                f"{store.root / FOLDER}: the build of '{recipe}' was made with {chain.partition(':')[0]} tombstones, of"
                " which the last were changed or taken away since: give them back, or it is not known what is withdrawn"
            )
