"""What is written beside an artifact when it is committed: what it is made from, its numbers, every file with size and
digest.

The manifest, written last, is the commit. It holds a digest of its own text, so that a changed byte is found wherever
it is.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from neo_assets.core import records
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.fingerprint import CORE_VERSION, artifact_fingerprint, code_version, digest_bytes, digest_file
from neo_assets.core.written import SCRATCH, noted

MANIFEST, VERDICT_FILE = "manifest.json", "verdict.json"

Scalar = int | float | str | bool | None
Row = dict[str, Scalar]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FileEntry(_Model):
    size: int
    digest: str


class InputRef(_Model):
    """One input as it was read: which artifact, and the digest of the part of it that counted."""

    fingerprint: str
    digest: str


class MadeFrom(_Model):
    """Everything that makes an artifact, in full, so that ``neo why`` can name what changed."""

    config: dict[str, object]
    code: dict[str, str]
    libraries: dict[str, str]
    inputs: dict[str, InputRef]
    core_version: int = CORE_VERSION

    @property
    def code_version(self) -> str:
        return code_version(self.config, self.code, self.libraries)

    @property
    def fingerprint(self) -> str:
        return artifact_fingerprint(self.code_version, {name: ref.digest for name, ref in self.inputs.items()})


class Check(_Model):
    """One claim about an artifact. A failed blocking check refuses it for every later reader."""

    name: str
    passed: bool
    detail: str
    blocking: bool = True


class Manifest(_Model):
    key: str
    fingerprint: str
    digest: str
    parts: dict[str, str] = {}
    made_from: MadeFrom
    rows_in: int | None = None
    rows_kept: int | None = None
    rows_dropped: int | None = None
    numbers: dict[str, Scalar] = {}
    tables: dict[str, list[Row]] = {}
    pictures: dict[str, str] = {}
    files: dict[str, FileEntry]
    seconds: float
    cpu_seconds: float | None = None  # of whoever made it and its workers, on other machines too; of a job: none
    created_at: str
    seal: str = ""  # digest of the manifest's own text without it; manifests of an older form have none

    def sealed(self) -> str:
        """The manifest as it is written: its text, with its own digest in it."""
        text = self.model_copy(update={"seal": ""}).model_dump_json(indent=1)
        return self.model_copy(update={"seal": digest_bytes(text.encode())}).model_dump_json(indent=1)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a committed folder, as it was written. Raises DamagedArtifact, FileNotFoundError."""
    file = folder / MANIFEST
    return parsed_manifest(file.read_bytes(), str(file), f" Move {folder} away and build again.")


def parsed_manifest(text: bytes, file: str, remedy: str = "") -> Manifest:
    """The manifest that a file holds. Raises DamagedArtifact, naming the file, where it is not what was written."""
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise DamagedArtifact(f"{file} is not a readable manifest: {error.errors()[0]['msg']}") from error
    if manifest.seal and digest_bytes(text.replace(manifest.seal.encode(), b"", 1)) != manifest.seal:
        raise DamagedArtifact(f"{file} is not what was written: its own digest is another.{remedy}")
    return manifest


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Size and digest of every file in a folder (manifest and half-written files aside); read is only what nobody noted
    a digest of while it was written.
    """
    known, out = noted(folder), {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.name != MANIFEST and path.suffix != ".tmp" and name.parts[0] != SCRATCH:
            digest = known.get(name.as_posix()) or digest_file(path)
            out[name.as_posix()] = FileEntry(size=path.stat().st_size, digest=digest)
    return out


def commit_folder(partial: Path, final: Path, manifest: Manifest) -> None:
    """Make every file and folder durable, write the manifest last, and give the folder its final name in one step."""
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    for path in partial.rglob("*"):
        sync(path)
    records.write_text(partial / MANIFEST, manifest.sealed())
    rights = (partial / MANIFEST).stat().st_mode
    for path in partial.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o777 == 0o600:
            path.chmod(rights & 0o777)  # safetensors writes for the owner alone, and a store is shared
    sync(partial)
    try:
        partial.rename(final)
    except OSError:
        if not (final / MANIFEST).is_file():
            raise
        shutil.rmtree(partial)
    sync(final.parent)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable. Costs nothing where they are."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
