"""Advisory locks on files: held as long as the holder lives, freed by the kernel when it dies, and safe to collect."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

LOCKS = "locks"
"""Folder of a store with one for each artifact that is, or was, being made."""


def locked(file: Path, waiting: Callable[[], None]) -> TextIOWrapper:
    """A lock file, open and locked; ``waiting`` is called where that takes time. The file may be collected between
    opening and locking it: then it is another file, and nobody's.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = file.open("a", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(stream.fileno()).st_ino == file.stat().st_ino:
                return stream
        stream.close()


def held(file: Path, against: int = fcntl.LOCK_SH) -> bool:
    """Whether some process holds this lock file; with ``LOCK_EX``, whether somebody holds it together with others."""
    try:
        stream = file.open(encoding="utf-8")
    except FileNotFoundError:
        return False
    with stream:
        try:
            fcntl.flock(stream, against | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def collect_lock(file: Path) -> bool:
    """Remove a lock file that nobody holds. Returns whether it was removed."""
    with contextlib.suppress(FileNotFoundError), file.open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        file.unlink()
        return True
    return False
