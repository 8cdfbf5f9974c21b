"""The store: immutable folders named by fingerprint, each committed by its manifest.

    ‹root›/‹asset key›/‹fingerprint›/manifest.json    what it is made from; every file with size and digest; written
    last ‹root›/‹asset key›/‹fingerprint›/verdict.json     what its checks said; a refused artifact cannot be opened
    ‹root›/‹asset key›/.partial-‹fingerprint›/        work in progress; finished shards in it survive a kill
    ‹root›/builds/‹recipe›/‹asset key›.json           which fingerprint this recipe's last build used
    ‹root›/asked/‹recipe›/‹run›.txt                   the training jobs it asked for, see pretrain/asked.py
    ‹root›/jobs/‹work fingerprint›/                   see jobs.py

Nothing in a committed folder is ever overwritten. Writers of one fingerprint exclude each other by an advisory lock,
which the kernel frees when its holder dies. That costs shared file systems without ``flock`` (some old NFS mounts):
there, two writers would do the work twice, and the second rename finds the folder there and keeps the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.artifact import Artifact, Outcome, Workspace, input_refs
from neo_assets.core.builds import Builds
from neo_assets.core.committed import BUILDS, RECORDS
from neo_assets.core.errors import DamagedArtifact, MissingUpstream, RefusedArtifact
from neo_assets.core.fingerprint import CORE_VERSION, digest_file
from neo_assets.core.frozen import COPIES
from neo_assets.core.locks import LOCKS, held, locked
from neo_assets.core.manifest import (
    MANIFEST,
    VERDICT_FILE,
    Check,
    FileEntry,
    InputRef,
    MadeFrom,
    Manifest,
    Row,
    Scalar,
    commit_folder,
    file_entries,
    read_manifest,
)
from neo_assets.core.place import share_with_group
from neo_assets.core.process import cpu_seconds
from neo_assets.core.remote import Remote
from neo_assets.core.shards import HERE, Engine
from neo_assets.core.sweeping import pinned, unpin
from neo_assets.core.thinned import gone
from neo_assets.core.written import PARTIAL

__all__ = [
    "LOCKS",
    "MANIFEST",
    "PARTIAL",
    "VERDICT_FILE",
    "Artifact",
    "Check",
    "FileEntry",
    "InputRef",
    "MadeFrom",
    "Manifest",
    "Outcome",
    "Row",
    "Scalar",
    "Store",
    "Workspace",
    "commit_folder",
    "file_entries",
    "input_refs",
    "read_manifest",
]
"""The store, and what `manifest.py` and `artifact.py` tell of what lies in it: others import all of it from here."""

NO_ARTIFACTS = ("jobs", COPIES, BUILDS, "asked", "scoring", LOCKS, "proofs", RECORDS)
"""Folders of a store that hold none."""


class Store(Builds):
    """A POSIX folder of artifacts, or the disk of an object store (``remote.py``). Safe for any number of processes on
    one file system, and of disks on one object store.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        share_with_group(root)

    # -------------------------------------------------- places

    def relative(self, path: Path) -> str:
        """How a path is written down: relative to the store where it is in it, so that a store may move; as it is where
        it is not.
        """
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def resolve(self, written: str) -> Path:
        """A path as it was written down, where the store lies now."""
        return self.root / written

    def whole(self, written: str) -> Path:
        """The folder of an artifact, as it was written down, with all of its files on this disk."""
        folder = self.resolve(written)
        if self.remote is not None and (artifact := self.find(*self._pair(folder))) is not None:
            return artifact.path
        return folder

    def _pair(self, folder: Path) -> tuple[str, str]:
        return folder.parent.relative_to(self.root).as_posix(), folder.name

    # -------------------------------------------------- reading

    def folder(self, key: str, fingerprint: str) -> Path:
        return self.root / key / fingerprint

    def has(self, key: str, fingerprint: str) -> bool:
        """Whether an artifact was committed, on this disk or another; its manifest is here then."""
        here = (self.folder(key, fingerprint) / MANIFEST).is_file()
        return here or (self.remote is not None and self.remote.bring(key, fingerprint))

    def find(self, key: str, fingerprint: str) -> Artifact | None:
        """The committed artifact, or None. Manifest and sizes must agree; full hashing is :meth:`verify`.

        Raises:
            DamagedArtifact: the folder is committed but a file is missing or has another size.
        """
        path = self.folder(key, fingerprint)
        if not self.has(key, fingerprint):
            return None
        manifest = read_manifest(path)
        elsewhere = self.remote is not None and self.remote.known(key, fingerprint) is not None
        for name, entry in manifest.files.items():
            try:
                size = (path / name).stat().st_size
            except FileNotFoundError:
                if elsewhere or name in gone(path):
                    continue
                raise DamagedArtifact(
                    f"{key} {fingerprint[:12]}: file {name} is gone. Move {path} away and build again."
                ) from None
            if size != entry.size:
                raise DamagedArtifact(
                    f"{key} {fingerprint[:12]}: {name} has {size} bytes, its manifest says {entry.size}. Move {path}"
                    " away and build again."
                )
        return Artifact(key, path, manifest, self._read_verdict(path), self.remote if elsewhere else None)

    @staticmethod
    def _read_verdict(path: Path) -> list[Check]:
        file = path / VERDICT_FILE
        if not file.is_file():
            return [
                Check(
                    name="verdict",
                    passed=False,
                    detail=f"{file} is missing: it cannot be told whether the artifact passed its checks",
                )
            ]
        try:
            return [Check.model_validate(row) for row in json.loads(file.read_text(encoding="utf-8"))]
        except ValueError as error:
            raise DamagedArtifact(
                f"{file} cannot be read: it cannot be told whether the artifact passed its checks. Move {path} away and"
                " build again."
            ) from error

    def verify(self, artifact: Artifact) -> list[str]:
        """Hash every file, and what the artifact is made from; returns what is wrong, in words (empty: all is well)."""
        let_go = gone(artifact.folder)
        made_from, named = artifact.manifest.made_from, f"{artifact.key} {artifact.fingerprint[:12]}"
        # A checkpoint is named by its step and run; what an older core made was named in another way.
        by_content = not artifact.key.startswith("checkpoint/") and made_from.core_version == CORE_VERSION
        wrong = (
            []
            if artifact.folder == self.folder(artifact.key, artifact.fingerprint)
            else [f"{named} lies in {artifact.folder}"]
        )
        wrong += (
            [f"{named}: what its manifest says it is made from has another fingerprint"]
            if by_content and made_from.fingerprint != artifact.fingerprint
            else []
        )
        if self.remote is not None:
            wrong += self.remote.verify(artifact.key, artifact.fingerprint)
        return wrong + [
            f"{artifact.key} {artifact.fingerprint[:12]}: {name} does not hash to what its manifest says"
            for name, entry in artifact.manifest.files.items()
            if name not in let_go
            and (self.remote is None or (artifact.folder / name).is_file())
            and digest_file(artifact.folder / name) != entry.digest
        ]

    def require(self, key: str, fingerprint: str) -> Artifact:
        """An artifact fit to be read. Raises MissingUpstream or RefusedArtifact."""
        artifact = self.find(key, fingerprint)
        if artifact is None:
            raise MissingUpstream(f"{key} {fingerprint[:12]} is not in the store {self.root}")
        if artifact.refused_by:
            reasons = "; ".join(f"{c.name}: {c.detail}" for c in artifact.refused_by)
            raise RefusedArtifact(
                f"{key} {fingerprint[:12]} was refused by its checks ({reasons}). Change the recipe or the code that"
                f" made it, then materialize {key} again."
            )
        return artifact

    def all(self) -> Iterator[tuple[str, str, Path]]:
        """(key, fingerprint, folder) of every committed or partial folder."""
        self.learn()
        for manifest in sorted(self.root.rglob(MANIFEST)):
            folder = manifest.parent
            if folder.name.startswith(PARTIAL) or folder.relative_to(self.root).parts[0] in NO_ARTIFACTS:
                continue
            yield folder.parent.relative_to(self.root).as_posix(), folder.name, folder

    def learn(self, below: str = "", strict: bool = False) -> None:
        """Have the manifests below a key's beginning on this disk, where object storage has more of them: for who looks
        through folders. Raises DamagedArtifact for one that cannot be read, if ``strict``.
        """
        if self.remote is not None:
            self.remote.sync(below, strict)

    def publish(self, key: str, fingerprint: str, log: Callable[[str], None] = lambda _: None) -> None:
        """Have a committed artifact where all disks see it."""
        if self.remote is not None:
            self.remote.publish(key, fingerprint, log)

    # -------------------------------------------------- builds

    def head(self, recipe: str, name: str) -> Artifact:
        """What this recipe's last build used for ``name``, fit to be read."""
        pointer = self.head_pointer(recipe, name)
        if pointer is None:
            raise MissingUpstream(
                f"{name} has not been built for recipe '{recipe}' yet. Materialize {name} first, or run the job"
                " 'factory'."
            )
        return self.require(*pointer)

    # -------------------------------------------------- writing

    @contextlib.contextmanager
    def lock(
        self,
        key: str,
        fingerprint: str,
        inputs: Mapping[str, InputRef] | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> Iterator[None]:
        """Exclude other writers of the same fingerprint, in any process of this file system. The file says what is read
        meanwhile, so that it is not collected.
        """
        file = self._lock_file(key, fingerprint)
        stream = locked(
            file, lambda: log(f"{key} {fingerprint[:12]}: another process is making it; waiting for it ({file.name})")
        )
        with stream, self._lease(key, fingerprint, inputs or {}, log):
            read = {"key": key, "inputs": [[name, ref.fingerprint] for name, ref in (inputs or {}).items()]}
            stream.truncate(0)
            stream.write(json.dumps(read))
            stream.flush()
            yield

    def _lease(
        self, key: str, fingerprint: str, inputs: Mapping[str, InputRef], log: Callable[[str], None]
    ) -> contextlib.AbstractContextManager[object]:
        return self.remote.lease(key, fingerprint, inputs, log) if self.remote else contextlib.nullcontext()

    def _lock_file(self, key: str, fingerprint: str) -> Path:
        return self.root / LOCKS / f"{key.replace('/', '.')}.{fingerprint[:32]}"

    def being_written(self, key: str, fingerprint: str) -> bool:
        """Whether some process holds the lock of this artifact now."""
        return held(self._lock_file(key, fingerprint))

    def at_work(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Key and inputs (key, fingerprint) of everything that some process is making now, on any disk; and of jobs of
        other disks.
        """
        if self.remote is not None:
            yield from self.remote.at_work()
            yield from pinned(self.remote)
        for file in sorted((self.root / LOCKS).glob("*")):
            if held(file):
                with contextlib.suppress(
                    ValueError
                ):  # its holder has not written yet: what it reads is still what builds name
                    told = json.loads(file.read_text(encoding="utf-8"))
                    yield told["key"], [(str(name), str(fp)) for name, fp in told["inputs"]]

    def build(
        self,
        key: str,
        made_from: MadeFrom,
        work: Callable[[Workspace], Outcome],
        log: Callable[[str], None] = lambda _: None,
        engine: Engine = HERE,
        tell: Callable[[str], None] | None = None,
    ) -> tuple[Artifact, bool]:
        """The artifact made from ``made_from``: found, or made by ``work`` and committed. Returns (artifact, reused).
        What is there is found without writing anything.
        """
        fingerprint = made_from.fingerprint
        if (artifact := self._found_again(key, fingerprint)) is not None:
            return artifact, True
        with self.lock(key, fingerprint, made_from.inputs, log):
            if (artifact := self._found_again(key, fingerprint)) is not None:  # whoever was waited for has made it
                return artifact, True
            partial = self.root / key / f"{PARTIAL}{fingerprint}"
            partial.mkdir(parents=True, exist_ok=True)
            records.remove_leftovers(partial)
            reads = {name: r.fingerprint for name, r in made_from.inputs.items()}
            out = Workspace(partial, log, engine, tell, reads, self.remote)
            started, used = time.monotonic(), cpu_seconds()
            outcome = work(out)
            used = cpu_seconds() - used + out.cpu_seconds_elsewhere
            self._commit(key, fingerprint, partial, made_from, outcome, time.monotonic() - started, used)
            if self.remote is not None:
                self.remote.publish(key, fingerprint, log, leased=True)
            return self._found(key, fingerprint), False

    def _found_again(self, key: str, fingerprint: str) -> Artifact | None:
        artifact = self.find(key, fingerprint)
        if artifact is not None and artifact.remote is not None and artifact.remote.lost(artifact):
            shutil.rmtree(artifact.folder)
            return None
        if artifact is not None:
            with contextlib.suppress(OSError):  # somebody who may only read
                os.utime(artifact.folder)  # young again, for who collects what no build names: this one is about to
        return artifact

    def _found(self, key: str, fingerprint: str) -> Artifact:
        artifact = self.find(key, fingerprint)
        if artifact is None:
            raise DamagedArtifact(f"{key} {fingerprint[:12]} vanished right after it was committed")
        return artifact

    def _commit(
        self,
        key: str,
        fingerprint: str,
        partial: Path,
        made_from: MadeFrom,
        outcome: Outcome,
        seconds: float,
        used: float,
    ) -> None:
        records.write_text(
            partial / VERDICT_FILE, json.dumps([c.model_dump() for c in outcome.checks], ensure_ascii=False, indent=1)
        )
        manifest = Manifest(
            key=key,
            fingerprint=fingerprint,
            digest=outcome.digest,
            parts=outcome.parts,
            made_from=made_from,
            rows_in=outcome.rows_in,
            rows_kept=outcome.rows_kept,
            rows_dropped=outcome.rows_dropped,
            numbers=outcome.numbers,
            tables=outcome.tables,
            pictures=outcome.pictures,
            files=file_entries(partial),
            seconds=round(seconds, 3),
            cpu_seconds=round(used, 3),
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        commit_folder(partial, self.folder(key, fingerprint), manifest)

    def remove(self, folder: Path) -> None:
        """Delete one folder (or file) below the root."""
        if self.root not in folder.parents:
            raise ValueError(f"{folder} is not inside the store {self.root}")
        if self.remote is not None:
            self._remove_everywhere(folder, self.remote)
        if folder.is_dir():
            # Without its manifest it is no artifact: who is stopped half way leaves nothing that looks whole.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)

    def _remove_everywhere(self, folder: Path, remote: Remote) -> None:
        """What other disks see of a folder that is about to be removed here."""
        parts = folder.relative_to(self.root).parts
        if parts[0] == BUILDS:
            remote.forget_build("/".join(parts[1:]))
        elif parts[0] == "jobs":
            unpin(remote, folder.name)
        elif (folder / MANIFEST).is_file() and not folder.name.startswith(PARTIAL):
            remote.remove(*self._pair(folder))
