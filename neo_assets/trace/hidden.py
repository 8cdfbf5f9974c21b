"""Documents that were withdrawn and are still in an index: a trace does not show them.

What a tombstone names is told by its address, source, licence, id or text, from the moment it is recorded. A copy that
stayed in the place of what it names is known once the build has looked for it (`withdrawn`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core.store import Store
from neo_assets.core.tombstones import Target, in_the_corpus, targets_digest, targets_in_force
from neo_assets.core.withdrawn import KEY, all_withdrawn

if TYPE_CHECKING:
    from neo_assets.trace.search import Place, TraceIndex


class Hidden:
    """Which documents of an index are not shown: those of ``ids``, and what ``targets`` name."""

    def __init__(self, ids: Iterable[str], targets: Sequence[Target] = (), note: str = "") -> None:
        self._ids, self._targets, self.note = frozenset(ids), targets, note
        self._known: dict[tuple[int, int], bool] = {}

    @classmethod
    def now(cls, store: Store, recipe: str) -> Hidden:
        """By the tombstones in force, and by what the recipe's build has found of them."""
        targets = targets_in_force(store.root, "trace")
        pointer = store.head_pointer(recipe, KEY) if targets else None
        made = store.find(*pointer) if pointer else None
        found = all_withdrawn({KEY: made}, "train_pool", "trace") if made else set()
        now = targets_digest(in_the_corpus(store.root, ask=False)) if targets else ""
        known = made is not None and made.manifest.made_from.config.get("tombstones") == now
        note = f"copies of what was withdrawn last are hidden once `{KEY}` is made" if targets and not known else ""
        return cls(found, targets, note)

    def of(self, index: TraceIndex, places: Sequence[Place]) -> list[bool]:
        """Whether each of these places is in a document that is not shown."""
        if not self._ids and not self._targets:
            return [False] * len(places)
        new = sorted({(p.shard, p.document) for p in places} - self._known.keys())
        if new:
            table = pa.Table.from_pylist([self._told(index, *at) for at in new])
            hidden = pc.is_in(table["doc_id"], value_set=pa.array(sorted(self._ids), pa.string()))
            hidden = reduce(pc.or_, [target.of_table(table) for target in self._targets], hidden)
            self._known |= dict(zip(new, hidden.to_pylist(), strict=True))
        return [self._known[p.shard, p.document] for p in places]

    def _told(self, index: TraceIndex, shard: int, document: int) -> dict[str, str]:
        told = dict(index.shards[shard].told(document))
        if any(target.kind == "text_sha256" for target in self._targets):
            told["text_sha256"] = hashlib.sha256(index.shards[shard].text_of(document)).hexdigest()
        return told


NOTHING = Hidden(())
