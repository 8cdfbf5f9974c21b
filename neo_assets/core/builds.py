"""What a recipe's build uses: one small file for each name, which says which artifact it stands for."""

from __future__ import annotations

import json
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.committed import BUILDS
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.remote import remote_of


class Builds:
    """The names of a store, in its folder and, where there is one, in the object store behind it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remote = remote_of(root)

    def _head_file(self, recipe: str, name: str) -> Path:
        return self.root / BUILDS / recipe / f"{name}.json"

    def set_head(self, recipe: str, name: str, key: str, fingerprint: str) -> None:
        """Record that this recipe's build uses ``fingerprint`` for ``name`` (an asset key, or ``key@partition``)."""
        if self.remote is not None:
            self.remote.publish(key, fingerprint)
            self.remote.put_head(recipe, name, key, fingerprint)
        records.write_text(self._head_file(recipe, name), json.dumps({"key": key, "fingerprint": fingerprint}))

    def head_pointer(self, recipe: str, name: str) -> tuple[str, str] | None:
        if self.remote is not None:
            self.remote.refresh_builds(recipe)
        file = self._head_file(recipe, name)
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return str(content["key"]), str(content["fingerprint"])
        except (ValueError, KeyError, TypeError) as error:
            where = f"{self.remote.settings.url}/{BUILDS}/{recipe}/{name}.json" if self.remote is not None else file
            raise DamagedArtifact(
                f"{where} cannot be read: it says which {name} the build uses. Remove it and materialize {name} again:"
                " what is there is found."
            ) from error

    def heads(self, recipe: str) -> dict[str, tuple[str, str]]:
        """All names this recipe's build uses, with (key, fingerprint)."""
        if self.remote is not None:
            self.remote.refresh_builds(recipe)
        base = self.root / BUILDS / recipe
        names = sorted(p.relative_to(base).with_suffix("").as_posix() for p in base.rglob("*.json"))
        return {name: pointer for name in names if (pointer := self.head_pointer(recipe, name)) is not None}

    def recipes(self) -> list[str]:
        if self.remote is not None:
            self.remote.refresh_builds()
        base = self.root / BUILDS
        return sorted(p.name for p in base.iterdir() if p.is_dir()) if base.is_dir() else []
