"""The folder of a machine or cluster that works on a store on object storage: which store it is the disk of, and what
may lie on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neo_assets.core import records
from neo_assets.core.committed import BUILDS, RECORDS, Pair
from neo_assets.core.errors import NeoError
from neo_assets.core.here import MARK
from neo_assets.core.locks import LOCKS, held
from neo_assets.core.manifest import MANIFEST, VERDICT_FILE
from neo_assets.core.objects import Objects
from neo_assets.core.thinned import MARK as THINNED

GIGABYTES = 100.0
"""What may lie on a disk unless a bound is given."""
IN_USE_S = 600.0
"""Seconds since a file was read or brought within which it does not leave the disk."""
LOOKED_S = 60.0
"""Seconds for which one process takes the disk's usage for what it saw, plus what it has brought since."""

_TELLS = (MANIFEST, VERDICT_FILE, THINNED)
"""What stays of an artifact on a disk that has heard of it."""


class Settings(BaseModel):
    """What a disk knows of its object store. No secrets."""

    model_config = ConfigDict(extra="forbid")
    url: str
    disk: str  # a name of its own, for what other disks have to know of it
    gigabytes: float = Field(gt=0, allow_inf_nan=False)  # of what the object store has, too, that may lie here


class Room:
    """How much of a disk files take that the object store has as well, and which of them leave it."""

    def __init__(self, root: Path, gigabytes: float) -> None:
        self.root, self.bound = root, gigabytes * 1e9
        self._used: tuple[float, int] | None = None
        self._lock = threading.Lock()

    def held(self) -> int:
        """Bytes of files on this disk that the object store has as well."""
        return sum(size for _, size, _ in self._evictable())

    def make(self, size: int) -> None:
        """Let files leave the disk, longest unread first, until ``size`` more bytes fit under its bound. Only what the
        object store has; nothing that was read within the last minutes or that a job of this disk reads, and of what
        stages at work read, Parquet files alone, which come again when they are read.
        """
        with self._lock:
            now = time.time()
            if self._used is None or now - self._used[0] > LOOKED_S:
                self._used = (now, self.held())
            if self._used[1] + size > self.bound:
                total = self._evict(self.bound - size, now)
                self._used = (now, total)
            self._used = (self._used[0], self._used[1] + size)

    def _evict(self, target: float, now: float) -> int:
        files = sorted(self._evictable())
        total, spared, mapped = sum(size for _, size, _ in files), self._read_by_jobs(), self._read_by_stages()
        for used, size, path in files:
            if total <= target:
                break
            folder = next(f for f in path.parents if (f / MANIFEST).is_file())
            key = folder.parent.relative_to(self.root).as_posix()
            if now - used < IN_USE_S or (key, folder.name) in spared or (key, "") in spared:
                continue
            if (key, folder.name) in mapped and path.suffix != ".parquet":
                continue
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                total -= size
        return total

    def _evictable(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, file) of every file on the disk that the object store has."""
        base = self.root / RECORDS
        for file in base.rglob("*.json"):
            folder = self.root / file.parent.relative_to(base) / file.stem
            for place, _, names in os.walk(folder):
                for name in names:
                    path = Path(place, name)
                    if path.parent == folder and name in _TELLS:
                        continue
                    with contextlib.suppress(OSError):
                        facts = path.stat()
                        yield max(facts.st_atime, facts.st_mtime), facts.st_size, path

    def _read_by_stages(self) -> set[Pair]:
        """What stages at work here read: of it, files that do not come again by themselves have to stay."""
        out: set[Pair] = set()
        for file in (self.root / LOCKS).glob("*"):
            if held(file):
                with contextlib.suppress(ValueError, OSError):  # its holder has not written yet
                    told = json.loads(file.read_text(encoding="utf-8"))
                    out |= {(str(name), str(fingerprint)) for name, fingerprint in told["inputs"]}
        return out

    def _read_by_jobs(self) -> set[Pair]:
        from neo_assets.core.jobs import job_folders
        from neo_assets.core.reach import read_by

        jobs = list(job_folders(self.root))
        return {place for job in jobs for place in read_by(self.root, job)} | {(job.spec().out, "") for job in jobs}


def make_disk(root: Path, url: str, gigabytes: float | None = None) -> None:
    """Make a folder the disk of an object store, which has to refuse what it must. Where it is already, only the bound
    is changed, if one is given.

    Raises NeoError where it is the disk of another one, or holds a store of its own; Unconditional.
    """
    told = settings_of(root)
    if told is None:
        if (root / BUILDS).is_dir():
            raise NeoError(
                f"{root} holds a store of its own; give {url} another folder as its disk (NEO_STORE_DISK), or send that"
                f" store there: NEO_STORE={root} neo send {url}"
            )
        join(root, settled(url, gigabytes))
        return
    if told.url != url.rstrip("/"):
        raise NeoError(f"{root} is the disk of {told.url}, not of {url}; give every store a disk of its own")
    if gigabytes is not None and told.gigabytes != gigabytes:
        records.write_text(root / MARK, told.model_copy(update={"gigabytes": gigabytes}).model_dump_json())


def settings_of(root: Path) -> Settings | None:
    """Which object store a folder is the disk of; None where it is a store itself. Raises NeoError where what says so
    cannot be read.
    """
    file = root / MARK
    if not file.is_file():
        return None
    try:
        return Settings.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise NeoError(
            f"{file} cannot be read ({error.errors()[0]['msg']}): it says what {root} is the disk of"
        ) from error


def settled(url: str, gigabytes: float | None = None) -> Settings:
    """What a new disk of an object store has to know. Raises Unconditional, NeoError where it cannot be asked."""
    objects = Objects(url)
    objects.probe()
    name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return Settings(url=objects.url, disk=name, gigabytes=GIGABYTES if gigabytes is None else gigabytes)


def join(root: Path, settings: Settings) -> None:
    """Make a folder a disk; where somebody was faster, theirs counts."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        aside = records.aside_of(root / MARK)
        aside.write_text(settings.model_dump_json(), encoding="utf-8")
    except OSError as error:
        raise NeoError(f"{root} cannot be the disk of {settings.url}: {error.strerror}") from error
    with contextlib.suppress(FileExistsError):
        os.link(aside, root / MARK)
    aside.unlink()
