"""Which model speaks, and what it was made of: followed through the store, from the exported folder to the crawl."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from neo_assets.core.artifact import Artifact
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.store import Store, read_manifest

CORPUS = "matrix"
SETS = ("raw_crawl/", "instructions/", "preferences/")
"""Artifacts whose recipes name the licence of what is in them."""


@dataclass(frozen=True)
class Origin:
    """``corpus``: digests of the corpora that a model was trained on; ``licences`` by name of source or set; ``gone``:
    what could not be followed further.
    """

    corpus: list[str] = field(default_factory=list)
    licences: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In one line."""
        if not self.corpus and not self.licences:
            return "not made here: nothing is known of what it was trained on"
        names = ", ".join(dict.fromkeys(self.licences.values())) or "unknown"
        lost = f"; not followed through {', '.join(self.gone)}" if self.gone else ""
        return f"corpus {', '.join(digest[:12] for digest in self.corpus)}; licences of its text: {names}{lost}"


def origin_of(store: Store, model: Artifact) -> Origin:
    """What an exported model was made of."""
    found = Origin()
    waiting = deque((name, ref.fingerprint) for name, ref in model.manifest.made_from.inputs.items())
    seen = set(waiting)
    while waiting:
        name, fingerprint = waiting.popleft()
        try:
            manifest = read_manifest(store.folder(name, fingerprint))
        except (OSError, DamagedArtifact):
            found.gone.append(f"{name} {fingerprint[:8]}")
            continue
        if name == CORPUS:
            found.corpus.append(manifest.digest)
        if name.startswith(SETS):
            licence = _licence(manifest.made_from.config)
            if licence:
                found.licences[name.partition("/")[2]] = licence
        for pair in ((n, ref.fingerprint) for n, ref in manifest.made_from.inputs.items()):
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return found


def _licence(config: dict[str, object]) -> str:
    inner = config.get("settings")
    for place in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(licence := place.get("licence"), str):
            return licence
    return ""
