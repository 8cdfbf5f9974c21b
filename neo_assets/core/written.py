"""Digests of an artifact's files, taken while they are written, so that its commit reads nothing again.

Whoever writes a file into a folder that is being made notes its digest there, in any process. The note counts as long
as the file is the one that was written: same size, inode and time of writing. It says what was meant to be written, so
that bytes which a disk lost in between are found when the artifact is verified, and not taken for its content. Noting
is economy: a file without a note is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

PARTIAL = ".partial-"
"""How the name of a folder that is being made begins."""
SCRATCH = ".logs"
"""Folder in it that is no part of the artifact."""
NOTES = "digests"
"""Files of notes: one a machine, since two of a cluster cannot both append to one file of a shared disk."""


class Hashing:
    """A file that is written from its beginning to its end, and the digest of what was written."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._state = hashlib.blake2b(digest_size=16)
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        self._state.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        self.closed = True

    def digest(self) -> str:
        """As :func:`~neo_assets.core.fingerprint.digest_file` of the file."""
        return self._state.hexdigest()

    def __enter__(self) -> Hashing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def note(path: Path, digest: str) -> None:
    """Note the digest of a file that has its final name, if it lies in a folder that is being made."""
    root = next((parent for parent in path.parents if parent.name.startswith(PARTIAL)), None)
    if root is None or (name := path.relative_to(root)).parts[0] == SCRATCH:
        return
    line = json.dumps([name.as_posix(), *_identity(path), digest]).encode() + b"\n"
    with contextlib.suppress(OSError):
        (root / SCRATCH).mkdir(exist_ok=True)
        descriptor = os.open(
            root / SCRATCH / f"{NOTES}-{os.uname().nodename}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664
        )
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def noted(root: Path) -> dict[str, str]:
    """Digests by name of the files that are still what was noted of them."""
    return {name: digest for name, facts, digest in _notes(root) if _still(root / name, facts)}


def _notes(root: Path) -> Iterator[tuple[str, list[int], str]]:
    for file in sorted((root / SCRATCH).glob(f"{NOTES}-*.jsonl")):
        latest: dict[str, tuple[list[int], str]] = {}
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # cut off, or mixed with another writer's
                name, *facts, digest = json.loads(line)
                latest[name] = (facts, digest)
        yield from ((name, *told) for name, told in latest.items())


def _still(path: Path, facts: list[int]) -> bool:
    with contextlib.suppress(OSError):
        return list(_identity(path)) == facts
    return False


def _identity(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_ino, facts.st_mtime_ns
