"""A commit of a store on object storage: what it says, and where it lies."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, model_validator

from neo_assets.core.manifest import VERDICT_FILE, Manifest

RECORDS = "objects"
"""Folder of a disk with copies of the commits that it has seen."""
ARTIFACTS, BUILDS, COMMIT = "artifacts", "builds", "commit.json"
ATTEMPT = "by-"
"""How the name of an attempt's folder begins."""
Pair = tuple[str, str]
"""Key and fingerprint of an artifact."""


class Record(BaseModel):
    """A commit as it lies in the object store."""

    model_config = ConfigDict(extra="forbid")
    manifest: str  # its text, byte for byte
    verdict: str = ""  # likewise, so that both come with one request
    attempt: str
    objects: dict[str, str]  # file -> object

    @model_validator(mode="after")
    def _stays_in_its_folder(self) -> Record:
        for name in (*self.objects, *self.parsed.files):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"it names a file outside of its folder: {name}")
        return self

    @property
    def parsed(self) -> Manifest:
        return _parsed(self.manifest)

    @property
    def unplaced(self) -> set[str]:
        """Files that the manifest names and that lie nowhere; the verdict is in the commit itself."""
        return set(self.parsed.files) - set(self.objects) - {VERDICT_FILE}


def place_of(key: str, fingerprint: str) -> str:
    """Where all objects of an artifact lie."""
    return f"{ARTIFACTS}/{key}/{fingerprint}"


def record_file(root: Path, key: str, fingerprint: str) -> Path:
    """Where a disk keeps its copy of a commit."""
    return root / RECORDS / key / f"{fingerprint}.json"


def kept(file: Path) -> Record | None:
    """A copy of a commit; None where there is none that can be read."""
    try:
        return _read(file, file.stat().st_mtime_ns)
    except (FileNotFoundError, ValueError):
        return None


def committed(name: str) -> Pair:
    """What the commit of this name commits."""
    key, _, fingerprint = name.removeprefix(f"{ARTIFACTS}/").removesuffix(f"/{COMMIT}").rpartition("/")
    return key, fingerprint


def sent_for(name: str) -> Pair:
    """What an object that some attempt has sent is a file of."""
    key, _, fingerprint = name.removeprefix(f"{ARTIFACTS}/").partition(f"/{ATTEMPT}")[0].rpartition("/")
    return key, fingerprint


@functools.lru_cache(256)
def _parsed(text: str) -> Manifest:
    return Manifest.model_validate_json(text)


@functools.lru_cache(256)
def _read(file: Path, _: int) -> Record:
    return Record.model_validate_json(file.read_text(encoding="utf-8"))
