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
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from neo_assets.core import records
from neo_assets.core.committed import (
    ARTIFACTS,
    BUILDS,
    COMMIT,
    RECORDS,
    Pair,
    Record,
    committed,
    kept,
    place_of,
    record_file,
)
from neo_assets.core.disk import Room, Settings, settings_of
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.lease import Lease, alive
from neo_assets.core.manifest import MANIFEST, VERDICT_FILE, FileEntry, InputRef, read_manifest
from neo_assets.core.objects import AT_ONCE, Objects
from neo_assets.core.sending import adopt, send
from neo_assets.core.thinned import states, thin
from neo_assets.core.written import PARTIAL, Hashing

if TYPE_CHECKING:
    from neo_assets.core.artifact import Artifact

FRESH_S = 2.0
"""Seconds for which one process takes what builds name for unchanged."""


class Remote:
    """The object store behind a disk. Safe for any number of processes on any number of disks."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root, self.settings = root, settings
        self.objects = Objects(settings.url)
        self._fresh: dict[str, float] = {}
        self.room = Room(root, settings.gigabytes)

    # -------------------------------------------------- commits

    def known(self, key: str, fingerprint: str) -> Record | None:
        """The commit as this disk has seen it; None where it has not."""
        return kept(record_file(self.root, key, fingerprint))

    def record(self, key: str, fingerprint: str) -> Record | None:
        """The commit as the object store has it now; None where there is none."""
        read = self.objects.read(f"{place_of(key, fingerprint)}/{COMMIT}")
        if read is None:
            record_file(self.root, key, fingerprint).unlink(missing_ok=True)
            return None
        try:
            found = Record.model_validate_json(read.data)
        except ValueError as error:
            raise DamagedArtifact(
                f"{self.settings.url}: {place_of(key, fingerprint)}/{COMMIT} cannot be read ({_told(error)}). Remove"
                f" that object: a disk that has its files sends them again when it asks for {key}, others make it"
            ) from error
        if self.known(key, fingerprint) != found:
            records.write_text(record_file(self.root, key, fingerprint), read.data.decode())
        return found

    def bring(self, key: str, fingerprint: str) -> bool:
        """Have an artifact's manifest and verdict on the disk, without its other files. False where it is not there."""
        record = self.record(key, fingerprint)
        if record is None:
            return False
        if wrong := _wrong_in(record, key, fingerprint):
            raise DamagedArtifact(f"{self.settings.url}: {wrong[0]}")
        final = self.root / key / fingerprint
        aside = final.with_name(f"{PARTIAL}brought-{secrets.token_hex(6)}")
        aside.mkdir(parents=True)
        if record.verdict:
            records.write_text(aside / VERDICT_FILE, record.verdict)
        if let_go := record.unplaced:
            thin(aside, let_go)
        records.write_text(aside / MANIFEST, record.manifest)
        try:
            aside.rename(final)
        except OSError:  # another brought it at the same time
            shutil.rmtree(aside)
            if not (final / MANIFEST).is_file():
                raise
        return True

    def lost(self, artifact: Artifact) -> bool:
        """Whether another disk has removed an artifact of which this one has not all files."""
        if all((artifact.folder / name).is_file() for name in artifact.manifest.files):
            return False
        return self.record(artifact.key, artifact.fingerprint) is None

    def sync(self, below: str = "", strict: bool = False) -> None:
        """Have the manifests of all artifacts below a key's beginning on the disk: ``eval_scores``, ``checkpoint/main``
        (nothing: of all). A commit that cannot be read is left out, for who asks for it to be told; ``strict`` raises
        DamagedArtifact.
        """

        def bring(pair: Pair) -> None:
            try:
                self.bring(*pair)
            except DamagedArtifact:
                if strict:
                    raise

        pairs = [committed(name) for name in self.commits(below)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            new = [p for p in pairs if not (self.root / p[0] / p[1] / MANIFEST).is_file() or self.known(*p) is None]
            list(pool.map(bring, new))

    def publish(
        self, key: str, fingerprint: str, log: Callable[[str], None] = lambda _: None, leased: bool = False
    ) -> None:
        """Have an artifact of this disk in the object store. Where another has committed the same fingerprint first, it
        is theirs that counts, and theirs that is on this disk afterwards.

        Raises:
            DamagedArtifact: the object store has lost it, and the disk has not all of its files.
        """
        if leased:
            send(self, key, fingerprint, log)
        elif (there := self.record(key, fingerprint)) is not None:
            adopt(self, key, fingerprint, there)
        else:
            inputs = read_manifest(self.root / key / fingerprint).made_from.inputs
            with self.lease(key, fingerprint, inputs, log):
                send(self, key, fingerprint, log)

    # -------------------------------------------------- files

    def fetch(self, path: Path) -> None:
        """Have one file of an artifact on the disk. Raises DamagedArtifact, FileNotFoundError."""
        key, fingerprint, name, record = self._told_of(path)
        entry = record.parsed.files[name]
        self.room.make(entry.size)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._download(record, name, entry, path, key)
        except FileNotFoundError:
            now = self.record(key, fingerprint)
            if now is None or now.manifest != record.manifest or name not in now.objects:
                what = "removed" if now is None else "let go of" if name not in now.objects else "made anew"
                raise DamagedArtifact(
                    f"{key} {fingerprint[:12]}, {name}: another disk has {what} it in {self.settings.url}. Remove"
                    f" {self.root / key / fingerprint} and ask for {key} again."
                ) from None
            try:
                self._download(now, name, entry, path, key)
            except FileNotFoundError:
                raise DamagedArtifact(
                    f"{self.settings.url}: {now.objects[name]} is gone, a file of {key}. Remove its {COMMIT} there and"
                    " build again."
                ) from None

    def fetch_all(self, folder: Path, names: Iterable[str]) -> None:
        """Have these files of an artifact on the disk."""
        absent = [folder / name for name in names if not (folder / name).is_file()]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.fetch, absent))

    def stream(self, path: Path) -> IO[bytes]:
        """One file of an artifact, read in pieces where it lies. Raises FileNotFoundError."""
        _, _, name, record = self._told_of(path)
        return self.objects.stream(record.objects[name])

    def size_of(self, path: Path) -> int:
        """Bytes of a file of an artifact that is not on the disk. Raises FileNotFoundError."""
        _, _, name, record = self._told_of(path)
        return record.parsed.files[name].size

    def _told_of(self, path: Path) -> tuple[str, str, str, Record]:
        """Key, fingerprint, name and commit of an artifact's file. Raises FileNotFoundError where it is none."""
        for folder in path.parents:
            if folder == self.root:
                break
            if (folder / MANIFEST).is_file():
                key, name = folder.parent.relative_to(self.root).as_posix(), path.relative_to(folder).as_posix()
                record = self.known(key, folder.name)
                if record is not None and name in record.objects:
                    return key, folder.name, name, record
                break
        raise FileNotFoundError(path)

    def _download(self, record: Record, name: str, entry: FileEntry, path: Path, key: str) -> None:
        aside = records.aside_of(path)
        try:
            with Hashing(aside) as stream:
                for piece in self.objects.pieces(record.objects[name], entry.size):
                    stream.write(piece)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if stream.digest() != entry.digest:
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
        wrong = [f"{self.settings.url}: {told}" for told in _wrong_in(record, key, fingerprint)]
        for name, place in record.objects.items():
            entry = record.parsed.files[name]
            try:
                if self.objects.digest(place, entry.size) != entry.digest:
                    wrong.append(
                        f"{self.settings.url}: {place}, a file of {key}, does not hash to what its manifest says"
                    )
            except FileNotFoundError:
                wrong.append(f"{self.settings.url}: {place}, a file of {key}, is gone")
        return wrong

    # -------------------------------------------------- builds, jobs, who is at work

    def put_head(self, recipe: str, name: str, key: str, fingerprint: str) -> None:
        text = json.dumps({"key": key, "fingerprint": fingerprint})
        self.objects.put(f"{BUILDS}/{recipe}/{name}.json", text.encode())

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

    # -------------------------------------------------- removing

    def remove(self, key: str, fingerprint: str) -> None:
        """Take a commit back. What it alone refers to goes with the next sweep."""
        self.objects.delete([f"{place_of(key, fingerprint)}/{COMMIT}"])
        record_file(self.root, key, fingerprint).unlink(missing_ok=True)

    def let_go(self, key: str, fingerprint: str, names: Collection[str]) -> None:
        """Take files out of a commit; their objects go with the next sweep."""
        known = self.known(key, fingerprint)
        if known is None or not known.objects.keys() & set(names):
            return
        place = f"{place_of(key, fingerprint)}/{COMMIT}"
        while (read := self.objects.read(place)) is not None:
            record = Record.model_validate_json(read.data)
            left = {name: at for name, at in record.objects.items() if name not in names}
            text = record.model_copy(update={"objects": left}).model_dump_json(indent=1)
            if self.objects.replace(place, text.encode(), read.etag) is not None:
                records.write_text(record_file(self.root, key, fingerprint), text)
                return

    def commits(self, below: str = "") -> list[str]:
        """Names of all commits below a key's beginning."""
        prefix = f"{ARTIFACTS}/{below}/" if below else f"{ARTIFACTS}/"
        return [o.name for o in self.objects.list(prefix) if o.name.endswith(f"/{COMMIT}")]


@functools.lru_cache
def remote_of(root: Path) -> Remote | None:
    """The object store that a folder is the disk of; None where the folder is a store itself."""
    settings = settings_of(root)
    return None if settings is None else Remote(root, settings)


def _wrong_in(record: Record, key: str, fingerprint: str) -> list[str]:
    """What a commit does not tell as its manifest does. States of a checkpoint may have been let go."""
    named = f"the commit of {key} {fingerprint[:12]}"
    let_go = states(record.unplaced) if key.startswith("checkpoint/") else []
    wrong = [f"{named} names no {name}" for name in sorted(record.unplaced - set(let_go))]
    told = record.parsed.files.get(VERDICT_FILE)
    if told is not None and digest_bytes(record.verdict.encode()) != told.digest:
        wrong.append(f"the verdict in {named} was changed")
    return wrong


def _told(error: ValueError) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def _pairs(value: object) -> list[list[object]]:
    return [list(pair) for pair in value] if isinstance(value, list) else []
