"""A store on object storage: what is committed lies there; a folder of this machine, its disk, is where work is done.

    ‹url›/artifacts/‹asset key›/‹fingerprint›/commit.json           the commit: manifest, and where each file lies
    ‹url›/artifacts/‹asset key›/‹fingerprint›/‹attempt›/‹file›      what one writer has sent
    ‹url›/builds/‹recipe›/‹asset key›.json                          as on the disk
    ‹url›/pins/‹disk›/‹work fingerprint›.json                       what a job on some disk still reads
    ‹url›/leases/…                                                  see lease.py

    ‹disk›/objects.json                                             which object store this folder is the disk of
    ‹disk›/objects/‹asset key›/‹fingerprint›.json                   copies of commits that were seen

Nothing is ever written twice under one name: every writer has an attempt of its own, and ``commit.json`` can be created
once, whoever tries. A file that is byte for byte one of an input's is not sent again: the commit says where it lies.
Files come to the disk when somebody reads them (``here.py``), are held to their digests on the way, and leave it when
it is full.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.errors import DamagedArtifact, NeoError
from neo_assets.core.lease import Lease, alive
from neo_assets.core.manifest import MANIFEST, VERDICT_FILE, FileEntry, InputRef, Manifest, read_manifest
from neo_assets.core.objects import Objects
from neo_assets.core.written import PARTIAL

MARK = "objects.json"
RECORDS = "objects"
ARTIFACTS, BUILDS, PINS, COMMIT = "artifacts", "builds", "pins", "commit.json"
ATTEMPT = "by-"
"""How the name of an attempt's folder begins."""
AT_ONCE = 8
"""Files that are sent or brought at one time."""
FRESH_S = 2.0
"""Seconds for which one process takes what builds name for unchanged."""
IN_USE_S = 600.0
"""Seconds since a file was read or brought within which it does not leave the disk."""
GOES_ON_S = 12 * 3600.0
"""Seconds after which what a killed writer had sent is sent anew: whoever sweeps may be about to remove it."""
LOOKED_S = 60.0
"""Seconds for which one process takes the disk's usage for what it saw, plus what it has brought since."""


class Settings(BaseModel):
    """What a disk knows of its object store. No secrets."""

    model_config = ConfigDict(extra="forbid")
    url: str
    disk: str  # a name of its own, for what other disks have to know of it
    gigabytes: float  # that files which the object store has as well may take on the disk


class Record(BaseModel):
    """A commit as it lies in the object store."""

    model_config = ConfigDict(extra="forbid")
    manifest: str  # its text, byte for byte
    attempt: str
    objects: dict[str, str]  # file -> object


Pair = tuple[str, str]
"""Key and fingerprint of an artifact."""


class Remote:
    """The object store behind a disk. Safe for any number of processes on any number of disks."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root, self.settings = root, settings
        self.objects = Objects(settings.url)
        self._fresh: dict[str, float] = {}
        self._used: tuple[float, int] | None = None
        self._room = threading.Lock()

    # -------------------------------------------------- commits

    def _record_file(self, key: str, fingerprint: str) -> Path:
        return self.root / RECORDS / key / f"{fingerprint}.json"

    def known(self, key: str, fingerprint: str) -> Record | None:
        """The commit as this disk has seen it; None where it has not."""
        return _kept(self._record_file(key, fingerprint))

    def record(self, key: str, fingerprint: str) -> Record | None:
        """The commit as the object store has it now; None where there is none."""
        read = self.objects.read(f"{ARTIFACTS}/{key}/{fingerprint}/{COMMIT}")
        if read is None:
            self._record_file(key, fingerprint).unlink(missing_ok=True)
            return None
        try:
            found = Record.model_validate_json(read.data)
        except ValueError as error:
            raise DamagedArtifact(
                f"{self.settings.url}: the commit of {key} {fingerprint[:12]} cannot be read"
            ) from error
        if self.known(key, fingerprint) != found:
            records.write_text(self._record_file(key, fingerprint), read.data.decode())
        return found

    def bring(self, key: str, fingerprint: str) -> bool:
        """Have an artifact's manifest and verdict on the disk, without its other files. False where it is not there."""
        record = self.record(key, fingerprint)
        if record is None:
            return False
        final = self.root / key / fingerprint
        aside = final.with_name(f"{PARTIAL}brought-{secrets.token_hex(6)}")
        aside.mkdir(parents=True)
        manifest = _manifest(record)
        if VERDICT_FILE in manifest.files:
            self._download(record, VERDICT_FILE, manifest.files[VERDICT_FILE], aside / VERDICT_FILE, key)
        records.write_text(aside / MANIFEST, record.manifest)
        try:
            aside.rename(final)
        except OSError:  # another brought it at the same time
            shutil.rmtree(aside)
            if not (final / MANIFEST).is_file():
                raise
        return True

    def sync(self, below: str = "") -> None:
        """Have the manifests of all artifacts below a key's beginning on the disk: ``eval_scores``, ``checkpoint/main``
        (nothing: of all).
        """
        prefix = f"{ARTIFACTS}/{below}/" if below else f"{ARTIFACTS}/"
        found = [n for o in self.objects.list(prefix) if (n := o.name).endswith(f"/{COMMIT}")]
        pairs = [_pair(name) for name in found]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            new = [p for p in pairs if not (self.root / p[0] / p[1] / MANIFEST).is_file() or self.known(*p) is None]
            list(pool.map(lambda pair: self.bring(*pair), new))

    # -------------------------------------------------- publishing

    def publish(
        self, key: str, fingerprint: str, log: Callable[[str], None] = lambda _: None, leased: bool = False
    ) -> None:
        """Have an artifact of this disk in the object store. Where another has committed the same fingerprint first, it
        is theirs that counts, and theirs that is on this disk afterwards.

        Raises:
            DamagedArtifact: the object store has lost it, and the disk has not all of its files.
        """
        folder = self.root / key / fingerprint
        if (there := self.record(key, fingerprint)) is not None:
            self._adopt(key, fingerprint, there)
            return
        manifest = read_manifest(folder)
        if leased:
            self._send(key, fingerprint, folder, manifest, log)
            return
        with self.lease(key, fingerprint, manifest.made_from.inputs, log):
            self._send(key, fingerprint, folder, manifest, log)

    def _send(self, key: str, fingerprint: str, folder: Path, manifest: Manifest, log: Callable[[str], None]) -> None:
        base = f"{ARTIFACTS}/{key}/{fingerprint}"
        notes = _Sent(self._record_file(key, fingerprint).with_suffix(".sent"))
        attempt, sent = notes.attempt, notes.read(self.objects, f"{base}/{notes.attempt}")
        theirs = self._of_inputs(manifest)
        placed: dict[str, str] = {}
        to_send: list[str] = []
        for name, entry in manifest.files.items():
            if place := theirs.get((entry.digest, entry.size)):
                placed[name] = place
            elif sent.get(name) == entry.digest:
                placed[name] = f"{base}/{attempt}/{name}"
            else:
                to_send.append(name)

        def send(name: str) -> None:
            try:
                digest = self.objects.upload(folder / name, f"{base}/{attempt}/{name}")
            except FileNotFoundError:
                raise DamagedArtifact(
                    f"{key} {fingerprint[:12]}: file {name} is gone, and {self.settings.url} has no commit of it. Move"
                    f" {folder} away and build again."
                ) from None
            if digest != manifest.files[name].digest:
                self.objects.delete([f"{base}/{attempt}/{name}"])
                raise DamagedArtifact(
                    f"{key} {fingerprint[:12]}: {name} does not hash to what its manifest says; it was not committed to"
                    f" {self.settings.url}. Move {folder} away and build again."
                )
            notes.add(name, digest)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(send, to_send))
        placed |= {name: f"{base}/{attempt}/{name}" for name in to_send}
        record = Record(
            manifest=(folder / MANIFEST).read_bytes().decode(), attempt=attempt, objects=dict(sorted(placed.items()))
        )
        if self.objects.put_once(f"{base}/{COMMIT}", record.model_dump_json(indent=1).encode()):
            records.write_text(self._record_file(key, fingerprint), record.model_dump_json(indent=1))
            reused = len(placed) - len(to_send) - len(sent)
            size = sum(manifest.files[name].size for name in to_send)
            log(
                f"{key}: {len(to_send)} files, {size:,} bytes sent to {self.settings.url}"
                + (f"; {reused} are files of what it was made from" if reused > 0 else "")
            )
        else:
            self.objects.delete(o.name for o in list(self.objects.list(f"{base}/{attempt}/")))
            if (winner := self.record(key, fingerprint)) is None:
                raise NeoError(f"{key} {fingerprint[:12]} was removed from {self.settings.url} while it was committed")
            self._adopt(key, fingerprint, winner)
        notes.forget()

    def _adopt(self, key: str, fingerprint: str, record: Record) -> None:
        """Have on the disk what the object store has, where the disk has another making of it."""
        folder = self.root / key / fingerprint
        if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() != record.manifest.encode():
            aside = folder.with_name(f"{PARTIAL}other-{secrets.token_hex(6)}")
            folder.rename(aside)
            shutil.rmtree(aside)
            self.bring(key, fingerprint)

    def _of_inputs(self, manifest: Manifest) -> dict[tuple[str, int], str]:
        """Where files of what an artifact was made from lie, by digest and size."""
        out: dict[tuple[str, int], str] = {}
        for name, ref in manifest.made_from.inputs.items():
            if (record := self.known(name, ref.fingerprint)) is not None:
                entries = _manifest(record).files
                out |= {(entries[n].digest, entries[n].size): place for n, place in record.objects.items()}
        return {(e, s): place for (e, s), place in out.items() if s}

    # -------------------------------------------------- files

    def fetch(self, path: Path) -> None:
        """Have one file of an artifact on the disk. Raises DamagedArtifact, FileNotFoundError."""
        key, fingerprint, name = self._place_of(path)
        record = self.known(key, fingerprint)
        if record is None or name not in record.objects:
            raise FileNotFoundError(path)
        entry = _manifest(record).files[name]
        self.make_room(entry.size)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._download(record, name, entry, path, key)

    def fetch_all(self, folder: Path, names: Iterable[str]) -> None:
        """Have these files of an artifact on the disk."""
        absent = [folder / name for name in names if not (folder / name).is_file()]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.fetch, absent))

    def stream(self, path: Path) -> IO[bytes]:
        """One file of an artifact, read in pieces where it lies. Raises FileNotFoundError."""
        key, fingerprint, name = self._place_of(path)
        record = self.known(key, fingerprint)
        if record is None or name not in record.objects:
            raise FileNotFoundError(path)
        return self.objects.stream(record.objects[name])

    def size_of(self, path: Path) -> int:
        """Bytes of a file of an artifact that is not on the disk. Raises FileNotFoundError."""
        key, fingerprint, name = self._place_of(path)
        record = self.known(key, fingerprint)
        if record is None or name not in record.objects:
            raise FileNotFoundError(path)
        return _manifest(record).files[name].size

    def _place_of(self, path: Path) -> tuple[str, str, str]:
        for folder in path.parents:
            if folder == self.root:
                break
            if (folder / MANIFEST).is_file():
                key = folder.parent.relative_to(self.root).as_posix()
                return key, folder.name, path.relative_to(folder).as_posix()
        raise FileNotFoundError(path)

    def _download(self, record: Record, name: str, entry: FileEntry, path: Path, key: str) -> None:
        import hashlib

        aside, state = records.aside_of(path), hashlib.blake2b(digest_size=16)
        try:
            with aside.open("wb") as stream:
                for piece in self.objects.pieces(record.objects[name], entry.size):
                    state.update(piece)
                    stream.write(piece)
        except FileNotFoundError:
            aside.unlink(missing_ok=True)
            raise DamagedArtifact(
                f"{self.settings.url}: {record.objects[name]} is gone, a file of {key}. Remove its {COMMIT} there"
                " and build again."
            ) from None
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if state.hexdigest() != entry.digest:
            aside.unlink()
            raise DamagedArtifact(
                f"{self.settings.url}: {record.objects[name]}, a file of {key}, does not hash to what its manifest says"
            )
        records.fsync_rename(aside, path)

    def verify(self, key: str, fingerprint: str) -> list[str]:
        """Hash every object of an artifact where it lies; what is wrong, in words."""
        record = self.record(key, fingerprint)
        if record is None:
            return [f"{key} {fingerprint[:12]} is not in {self.settings.url}"]
        wrong, manifest = [], _manifest(record)
        for name, place in record.objects.items():
            entry = manifest.files[name]
            try:
                if self.objects.digest(place, entry.size) != entry.digest:
                    wrong.append(
                        f"{self.settings.url}: {place}, a file of {key}, does not hash to what its manifest says"
                    )
            except FileNotFoundError:
                wrong.append(f"{self.settings.url}: {place}, a file of {key}, is gone")
        return wrong

    # -------------------------------------------------- the disk's bound

    def make_room(self, size: int) -> None:
        """Let files leave the disk, longest unread first, until ``size`` more bytes fit under its bound. Only what the
        object store has; nothing that was read within the last minutes or that a job of this disk reads.
        """
        bound = self.settings.gigabytes * 1e9
        with self._room:
            now = time.time()
            if self._used is None or now - self._used[0] > LOOKED_S:
                self._used = (now, sum(size for _, size, _ in self._evictable()))
            if self._used[1] + size > bound:
                total = self._evict(bound - size, now)
                self._used = (now, total)
            self._used = (self._used[0], self._used[1] + size)

    def _evict(self, target: float, now: float) -> int:
        files = sorted(self._evictable())
        total, spared = sum(size for _, size, _ in files), self._read_by_jobs()
        for used, size, path in files:
            if total <= target:
                break
            folder = next(f for f in path.parents if (f / MANIFEST).is_file())
            key = folder.parent.relative_to(self.root).as_posix()
            if now - used < IN_USE_S or (key, folder.name) in spared or (key, "") in spared:
                continue
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                total -= size
        return total

    def _evictable(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, file) of every file on the disk that the object store has."""
        base = self.root / RECORDS
        for file in base.rglob("*.json"):
            key, fingerprint = file.parent.relative_to(base).as_posix(), file.stem
            record = _kept(file)
            for name in record.objects if record else ():
                if name != VERDICT_FILE:
                    path = self.root / key / fingerprint / name
                    with contextlib.suppress(OSError):
                        facts = path.stat()
                        yield max(facts.st_atime, facts.st_mtime), facts.st_size, path

    def _read_by_jobs(self) -> set[Pair]:
        from neo_assets.core.jobs import job_folders
        from neo_assets.core.reach import read_by

        jobs = list(job_folders(self.root))
        return {place for job in jobs for place in read_by(self.root, job)} | {(job.spec().out, "") for job in jobs}

    # -------------------------------------------------- builds, jobs, who is at work

    def put_head(self, name: str, text: str) -> None:
        self.objects.put(f"{BUILDS}/{name}", text.encode())

    def refresh_builds(self, recipe: str = "") -> None:
        """Have on the disk what builds name, as the object store has it."""
        prefix = f"{BUILDS}/{recipe}/" if recipe else f"{BUILDS}/"
        if time.monotonic() - self._fresh.get(prefix, -FRESH_S) < FRESH_S:
            return
        tags = self.root / RECORDS / "builds-etags"
        known: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(tags.read_text(encoding="utf-8"))
        there = {o.name: o.etag for o in self.objects.list(prefix)}
        new = [n for n, etag in there.items() if known.get(n) != etag or not (self.root / n).is_file()]

        def bring(name: str) -> None:
            if (read := self.objects.read(name)) is not None:
                records.write_text(self.root / name, read.data.decode())
                there[name] = read.etag

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(bring, new))
        base = self.root / BUILDS / recipe if recipe else self.root / BUILDS
        for path in list(base.rglob("*.json")) if base.is_dir() else []:
            if path.relative_to(self.root).as_posix() not in there:
                path.unlink(missing_ok=True)
        kept = {n: e for n, e in known.items() if not n.startswith(prefix)}
        if new or {n for n in known if n.startswith(prefix)} - there.keys():
            records.write_text(tags, json.dumps(kept | there))
        self._fresh[prefix] = time.monotonic()

    def forget_build(self, recipe: str) -> None:
        self.objects.delete([o.name for o in self.objects.list(f"{BUILDS}/{recipe}/")])

    def lease(
        self, key: str, fingerprint: str, inputs: Mapping[str, InputRef], log: Callable[[str], None]
    ) -> contextlib.AbstractContextManager[object]:
        """Hold the making of a fingerprint, among all disks."""
        name = f"{key.replace('/', '.')}.{fingerprint[:32]}"
        told: dict[str, object] = {
            "key": key,
            "fingerprint": fingerprint,
            "inputs": [[n, ref.fingerprint] for n, ref in inputs.items()],
        }
        waiting = functools.partial(log, f"{key} {fingerprint[:12]}: it is being made on another disk; waiting for it")
        return Lease(self.objects, name, told, waiting)

    def at_work(self) -> list[tuple[str, list[Pair]]]:
        """Key and inputs of everything that is being made on any disk now."""
        return [
            (str(told["key"]), [(str(n), str(fp)) for n, fp in _pairs(told["inputs"])]) for told in alive(self.objects)
        ]

    def pin(self, work: str, title: str, reads: Sequence[Pair], makes: Sequence[str]) -> None:
        """Tell other disks what a job of this one reads, until what it makes is in the object store."""
        told = {"title": title, "host": socket.gethostname(), "reads": list(reads), "makes": list(makes)}
        self.objects.put(f"{PINS}/{self.settings.disk}/{work}.json", json.dumps(told).encode())

    def unpin(self, work: str) -> None:
        self.objects.delete([f"{PINS}/{self.settings.disk}/{work}.json"])

    def pinned(self) -> list[tuple[str, list[Pair]]]:
        """(who, what it reads) for every job of another disk whose making is not in the object store yet."""
        out = []
        for pin in self.objects.list(f"{PINS}/"):
            if pin.name.startswith(f"{PINS}/{self.settings.disk}/") or (read := self.objects.read(pin.name)) is None:
                continue
            told = json.loads(read.data)
            made = [str(name).rpartition("/") for name in told["makes"]]
            if made and all(self.objects.look(f"{ARTIFACTS}/{k}/{fp}/{COMMIT}") for k, _, fp in made):
                continue
            out.append((f"{told['title']} on {told['host']}", [(str(k), str(fp)) for k, fp in told["reads"]]))
        return out

    # -------------------------------------------------- removing

    def remove(self, key: str, fingerprint: str) -> None:
        """Take a commit back. What it alone refers to goes with the next sweep."""
        self.objects.delete([f"{ARTIFACTS}/{key}/{fingerprint}/{COMMIT}"])
        self._record_file(key, fingerprint).unlink(missing_ok=True)

    def sweep(self, grace_s: float, remove: bool) -> tuple[int, int]:
        """(objects, bytes) that no commit refers to, older than the grace, of nothing that is being made; ``remove``
        removes them.
        """
        before = alive(self.objects)
        everything = list(self.objects.list(f"{ARTIFACTS}/"))
        commits = [_pair(o.name) for o in everything if o.name.endswith(f"/{COMMIT}")]
        self.sync()
        used: set[str] = set()
        for pair in commits:
            record = self.known(*pair)
            if record is None:
                raise NeoError(f"{self.settings.url}: the commit of {pair[0]} {pair[1][:12]} is gone; ask again")
            used |= set(record.objects.values())
        working = {(str(told["key"]), str(told["fingerprint"])) for told in [*before, *alive(self.objects)]}
        now = self.objects.now()
        nobodys = [
            o
            for o in everything
            if not o.name.endswith(f"/{COMMIT}")
            and o.name not in used
            and now - o.modified > grace_s
            and not any(o.name.startswith(f"{ARTIFACTS}/{key}/{fp}/") for key, fp in working)
        ]
        since = {pair for o in nobodys if (pair := _artifact_of(o.name)) not in commits and self.record(*pair)}
        nobodys = [o for o in nobodys if _artifact_of(o.name) not in since]  # committed while this was looking
        if remove:
            self.objects.delete(o.name for o in nobodys)
        return len(nobodys), sum(o.size for o in nobodys)


class _Sent:
    """Which files a killed writer of this disk had sent: the next one goes on with its attempt."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        young = file.is_file() and time.time() - file.stat().st_mtime < GOES_ON_S
        lines = file.read_text(encoding="utf-8").splitlines() if young else []
        self.attempt = lines[0] if lines else f"{ATTEMPT}{secrets.token_hex(8)}"
        self._lines = lines[1:]
        if not lines:
            records.write_text(file, f"{self.attempt}\n")

    def read(self, objects: Objects, prefix: str) -> dict[str, str]:
        """Digest by name of what was sent and is still there."""
        out: dict[str, str] = {}
        if not self._lines:
            return out
        there = {o.name.removeprefix(f"{prefix}/") for o in objects.list(f"{prefix}/")}
        for line in self._lines:
            with contextlib.suppress(ValueError):  # cut off
                name, digest = json.loads(line)
                if name in there:
                    out[name] = digest
        return out

    def add(self, name: str, digest: str) -> None:
        with self._lock, self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, digest]) + "\n")

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


# ------------------------------------------------------------------ which store a folder is the disk of


def make_disk(root: Path, url: str, gigabytes: float) -> None:
    """Make a folder the disk of an object store, which has to refuse what it must. Nothing happens where it is already.

    Raises NeoError where it is the disk of another one, or holds a store of its own; Unconditional.
    """
    file = root / MARK
    if file.is_file():
        told = Settings.model_validate_json(file.read_text(encoding="utf-8"))
        if told.url != url.rstrip("/"):
            raise NeoError(f"{root} is the disk of {told.url}, not of {url}; give every store a disk of its own")
        if told.gigabytes != gigabytes:
            records.write_text(file, told.model_copy(update={"gigabytes": gigabytes}).model_dump_json())
        return
    if (root / "builds").is_dir():
        raise NeoError(f"{root} holds a store of its own; give {url} another folder as its disk")
    objects = Objects(url)
    objects.probe()
    settings = Settings(url=objects.url, disk=f"{socket.gethostname()}-{secrets.token_hex(4)}", gigabytes=gigabytes)
    root.mkdir(parents=True, exist_ok=True)
    aside = records.aside_of(file)
    aside.write_text(settings.model_dump_json(), encoding="utf-8")
    with contextlib.suppress(FileExistsError):  # somebody was faster: theirs counts
        os.link(aside, file)
    aside.unlink()


@functools.lru_cache
def remote_of(root: Path) -> Remote | None:
    """The object store that a folder is the disk of; None where the folder is a store itself."""
    file = root / MARK
    if not file.is_file():
        return None
    return Remote(root, Settings.model_validate_json(file.read_text(encoding="utf-8")))


# ------------------------------------------------------------------ small things


@functools.lru_cache(256)
def _parsed(text: str) -> Manifest:
    return Manifest.model_validate_json(text)


def _manifest(record: Record) -> Manifest:
    return _parsed(record.manifest)


def _kept(file: Path) -> Record | None:
    try:
        return _read_record(file, file.stat().st_mtime_ns)
    except (FileNotFoundError, ValueError):
        return None


@functools.lru_cache(256)
def _read_record(file: Path, _: int) -> Record:
    return Record.model_validate_json(file.read_text(encoding="utf-8"))


def _pair(commit: str) -> Pair:
    """Of the name of a commit."""
    key, _, fingerprint = commit.removeprefix(f"{ARTIFACTS}/").removesuffix(f"/{COMMIT}").rpartition("/")
    return key, fingerprint


def _artifact_of(name: str) -> Pair:
    """Of the name of an object that some attempt has sent."""
    key, _, fingerprint = name.removeprefix(f"{ARTIFACTS}/").partition(f"/{ATTEMPT}")[0].rpartition("/")
    return key, fingerprint


def _pairs(value: object) -> list[list[object]]:
    return [list(pair) for pair in value] if isinstance(value, list) else []
