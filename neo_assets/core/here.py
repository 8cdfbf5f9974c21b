"""Files of artifacts, wherever the store keeps them: on this disk, or brought from object storage to be read."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from neo_assets.core.remote import Remote

MARK = "objects.json"


def here(path: Path) -> Path:
    """The same path, with its file on this disk if the store has it anywhere."""
    if not path.exists() and (root := _disk_of(path.parent)) is not None:
        with contextlib.suppress(FileNotFoundError):  # it is nowhere: who opens it says so
            _remote(root).fetch(path)
    return path


def in_pieces(path: Path) -> Path | IO[bytes]:
    """The path, or of a file that is not on this disk, a stream that asks for the pieces that are read: for who reads
    its end alone. What is read so is not held to a digest.
    """
    if not path.exists() and (root := _disk_of(path.parent)) is not None:
        return _remote(root).stream(path)
    return path


def size_of(path: Path) -> int:
    """Bytes of a file, without bringing it. Raises FileNotFoundError."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        if (root := _disk_of(path.parent)) is None:
            raise
        return _remote(root).size_of(path)


@functools.lru_cache(1024)
def _disk_of(folder: Path) -> Path | None:
    return next((parent for parent in (folder, *folder.parents) if (parent / MARK).is_file()), None)


def _remote(root: Path) -> Remote:
    from neo_assets.core.remote import remote_of

    remote = remote_of(root)
    assert remote is not None  # its mark was seen
    return remote
