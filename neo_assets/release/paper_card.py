"""The executable paper of a release: compiled from the release's own recipe, manifests and scores.

It is held against the released model alone. What the recipe's comments say, the release cannot show: it has them as
they were (``paper/written.json``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.manifest import Manifest
from neo_assets.paper.compared import compared
from neo_assets.paper.paper import last_score, written_by
from neo_assets.paper.statements import FILE, read_statements
from neo_assets.paper.text import About, Places, paper_text
from neo_assets.release import layout

if TYPE_CHECKING:
    from neo_assets.release.cards import Release

PAPER, STATEMENTS, WRITTEN = "paper/paper.md", f"paper/{FILE.name}", "paper/written.json"


def written_text(written: Mapping[str, tuple[str, str, str]]) -> str:
    """``paper/written.json``: by place of the recipe, the file and line that say it, and the reason given there."""
    return json.dumps(written, indent=1, ensure_ascii=False, sort_keys=True)


def paper_card(release: Release) -> dict[str, str]:
    """The paper and its statements, by their names in the release."""
    chapters = read_statements()
    written = json.loads((release.folder / WRITTEN).read_text(encoding="utf-8"))
    recipe = release.recipe
    about = About(
        recipe["name"],
        recipe["description"],
        recipe["release"]["producer"],
        (release.folder / layout.RECIPE).read_text(encoding="utf-8"),
    )
    by_chapter = compared(chapters, recipe, written_by(written), _Read(release))
    text = paper_text(about, by_chapter, chapters, Places(PAPER, layout.RECIPE, STATEMENTS))
    return {PAPER: text, STATEMENTS: FILE.read_text(encoding="utf-8")}


class _Read:
    """Measured values from a release's own files."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._nearest = _nearest(release)

    def manifest(self, key: str) -> tuple[Manifest, str] | None:
        fingerprint = self._nearest.get(key)
        return self._release.manifest(key, fingerprint) if fingerprint else None

    def score(self, task: str) -> tuple[float, str] | None:
        rows, file = self._release.scores
        value = last_score(rows, task, self._release.told["step"])
        return None if value is None else (value, file)


def _nearest(release: Release) -> dict[str, str]:
    """By artifact: which of its manifests is meant, where there are several: the one that fewest steps lead to from
    what the release is of; nothing leads to plans and the like, of which there is one each.
    """
    told = release.told
    waiting = [tuple(told["checkpoint"]), *map(tuple, told["streams"].values()), ("funnel", told["funnel"])]
    waiting += [("comparison", told["comparison"]), tuple(told["pool"]), tuple(told["weights"])]
    found: dict[str, str] = {}
    seen: set[tuple[str, ...]] = set()
    while waiting:
        following = []
        for at in waiting:
            if at in seen or not (release.folder / layout.manifest_file(*at)).is_file():
                continue
            seen.add(at)
            found.setdefault(*at)
            made, _ = release.manifest(*at)
            following += [(name, ref.fingerprint) for name, ref in made.made_from.inputs.items()]
        waiting = following
    beside: dict[str, list[str]] = {}
    for path in (release.folder / layout.MANIFESTS).rglob("*.json"):
        key = path.parent.relative_to(release.folder / layout.MANIFESTS).as_posix()
        beside.setdefault(key, []).append(path.stem)
    return {key: names[0] for key, names in beside.items() if len(names) == 1} | found


def worded_by() -> list[Path]:
    """Files that word the paper."""
    folder = FILE.parent
    return [FILE, *(folder / name for name in ("compared.py", "statements.py", "text.py", "pages/paper.md.j2"))]
