"""Evaluation items as texts that are looked for: written by ``benchmark_items``, read by decontamination and by the
contamination gate.

searched/‹benchmark›.jsonl   [id, question, right answer] a line
searched.json                the benchmarks that training text must not hold
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.store import Artifact, Workspace

SEARCHED = "searched"
"""Folder of these texts, and name of the part that is the digest of those kept out of training."""

FLAGGED = "flagged.json"
"""In ``contamination``: ids of items that stand in the training text, by task."""

Item = tuple[str, str, str]
"""Id, question, right answer (looked for with the question where that is too short)."""


def write_searched(items: Mapping[str, Sequence[Item]], kept_out: Sequence[str], out: Workspace) -> str:
    """Write the texts of every benchmark; returns the digest of those that training must not hold."""
    for name, texts in items.items():
        out.write_text(
            f"{SEARCHED}/{name}.jsonl", "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in texts)
        )
    out.write_text(f"{SEARCHED}.json", json.dumps(sorted(kept_out)))
    return digest_json([[name, [list(item) for item in items[name]]] for name in sorted(kept_out)])


def read_searched(artifact: Artifact, names: Sequence[str] | None = None) -> list[Item]:
    """Items of these benchmarks, or of those that training must not hold; each id is ``‹benchmark›/‹id›``."""
    wanted = json.loads(artifact.file(f"{SEARCHED}.json").read_text(encoding="utf-8")) if names is None else names
    out: list[Item] = []
    for name in wanted:
        for line in artifact.file(f"{SEARCHED}/{name}.jsonl").read_text(encoding="utf-8").split("\n"):
            if line:
                item, question, answer = json.loads(line)
                out.append((f"{name}/{item}", str(question), str(answer)))
    return out
