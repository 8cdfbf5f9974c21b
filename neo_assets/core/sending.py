"""How an artifact gets into object storage: its files under a name of this writer's own, then the commit, which only
the first can create.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core import records
from neo_assets.core.committed import ATTEMPT, COMMIT, Record, place_of, record_file
from neo_assets.core.errors import DamagedArtifact, NeoError
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.manifest import MANIFEST, VERDICT_FILE, Manifest, read_manifest
from neo_assets.core.objects import AT_ONCE, Objects
from neo_assets.core.thinned import gone
from neo_assets.core.written import PARTIAL

if TYPE_CHECKING:
    from neo_assets.core.remote import Remote

GOES_ON_S = 12 * 3600.0
"""Seconds after which what a killed writer had sent is sent anew: whoever sweeps may be about to remove it."""


def send(remote: Remote, key: str, fingerprint: str, log: Callable[[str], None]) -> None:
    """Send an artifact's files and commit it. Where another has committed the same fingerprint first, theirs counts.

    Raises:
        DamagedArtifact: a file is gone, or is not what the manifest says; nothing is committed.
    """
    folder = remote.root / key / fingerprint
    manifest = read_manifest(folder)
    base = place_of(key, fingerprint)
    notes = _Sent(record_file(remote.root, key, fingerprint).with_suffix(".sent"))
    attempt, sent = notes.attempt, notes.read(remote.objects, f"{base}/{notes.attempt}")
    theirs = _of_inputs(remote, manifest)
    verdict = (folder / VERDICT_FILE).read_bytes().decode() if (folder / VERDICT_FILE).is_file() else ""

    def refuse_another(digest: str, name: str) -> None:
        if digest != manifest.files[name].digest:
            raise DamagedArtifact(
                f"{key} {fingerprint[:12]}: {name} does not hash to what its manifest says; it was not committed to"
                f" {remote.settings.url}. Move {folder} away and build again."
            )

    placed: dict[str, str] = {}
    to_send: list[str] = []
    let_go = gone(folder)
    for name, entry in manifest.files.items():
        if name in let_go:
            continue
        if name == VERDICT_FILE:  # the commit itself holds it
            refuse_another(digest_bytes(verdict.encode()), name)
            continue
        if place := theirs.get((entry.digest, entry.size)):
            placed[name] = place
        elif sent.get(name) == entry.digest:
            placed[name] = f"{base}/{attempt}/{name}"
        else:
            to_send.append(name)

    def upload(name: str) -> None:
        try:
            digest = remote.objects.upload(folder / name, f"{base}/{attempt}/{name}")
        except FileNotFoundError:
            raise DamagedArtifact(
                f"{key} {fingerprint[:12]}: file {name} is gone, and {remote.settings.url} has no commit of it. Move"
                f" {folder} away and build again."
            ) from None
        if digest != manifest.files[name].digest:
            remote.objects.delete([f"{base}/{attempt}/{name}"])
        refuse_another(digest, name)
        notes.add(name, digest)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(upload, to_send))
    placed |= {name: f"{base}/{attempt}/{name}" for name in to_send}
    record = Record(
        manifest=(folder / MANIFEST).read_bytes().decode(),
        verdict=verdict,
        attempt=attempt,
        objects=dict(sorted(placed.items())),
    )
    text = record.model_dump_json(indent=1)
    if remote.objects.put_once(f"{base}/{COMMIT}", text.encode()) is not None:
        records.write_text(record_file(remote.root, key, fingerprint), text)
        reused = len(placed) - len(to_send) - len(sent)
        size = sum(manifest.files[name].size for name in to_send)
        log(
            f"{key}: {len(to_send)} files, {size:,} bytes sent to {remote.settings.url}"
            + (f"; {reused} are files of what it was made from" if reused > 0 else "")
        )
    else:
        remote.objects.delete(o.name for o in list(remote.objects.list(f"{base}/{attempt}/")))
        if (winner := remote.record(key, fingerprint)) is None:
            raise NeoError(f"{key} {fingerprint[:12]} was removed from {remote.settings.url} while it was committed")
        adopt(remote, key, fingerprint, winner)
    notes.forget()


def adopt(remote: Remote, key: str, fingerprint: str, record: Record) -> None:
    """Have on the disk what the object store has, where the disk has another making of it."""
    folder = remote.root / key / fingerprint
    if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() != record.manifest.encode():
        aside = folder.with_name(f"{PARTIAL}other-{secrets.token_hex(6)}")
        folder.rename(aside)
        shutil.rmtree(aside)
        remote.bring(key, fingerprint)


def _of_inputs(remote: Remote, manifest: Manifest) -> dict[tuple[str, int], str]:
    """Where files of what an artifact was made from lie, by digest and size."""
    out: dict[tuple[str, int], str] = {}
    for name, ref in manifest.made_from.inputs.items():
        if (record := remote.record(name, ref.fingerprint)) is not None:  # as it is now: objects may have gone
            entries = record.parsed.files
            out |= {(entries[n].digest, entries[n].size): place for n, place in record.objects.items()}
    return {(e, s): place for (e, s), place in out.items() if s}


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
