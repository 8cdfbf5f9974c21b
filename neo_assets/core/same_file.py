"""A file of a finished artifact as a file of another one: a second name for the same bytes, which are written and
hashed once. What is finished never changes, so neither can change the other; who removes one leaves the other.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.here import here
from neo_assets.core.manifest import MANIFEST, Manifest, read_manifest
from neo_assets.core.written import note


def take_over(source: Path, target: Path) -> None:
    """Give a file of a finished artifact the name ``target`` as well; where the file system has no second names, or the
    file is of no finished artifact, it is copied.
    """
    here(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = records.aside_of(target)
    digest = _digest_of(source)
    try:
        if digest is None:
            raise OSError
        os.link(source, aside)
    except OSError:
        shutil.copyfile(source, aside)
    records.fsync_rename(aside, target)
    if digest is not None:
        with contextlib.suppress(OSError):
            note(target, digest)


def _digest_of(file: Path) -> str | None:
    """As the manifest of its artifact has it."""
    for folder in file.parents:
        if (folder / MANIFEST).is_file():
            entry = _manifest(folder).files.get(file.relative_to(folder).as_posix())
            return entry.digest if entry else None
    return None


@functools.lru_cache(64)
def _manifest(folder: Path) -> Manifest:
    """Read once a process: a manifest never changes."""
    return read_manifest(folder)
