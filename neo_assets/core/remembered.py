"""Digests of files that lie outside the store, and what modules say, remembered: weights and crawls are large, and
definitions load often.

A file is taken for the one that was hashed as long as its path, size, inode, and times of writing and of change are the
same; the last cannot be set by hand. What was written less than two seconds before it was hashed is not remembered,
since a second write could share its time. Remembering is economy: without a store that can be written to, everything is
hashed each time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from neo_assets.core.fingerprint import ROOT, digest_file, digest_json
from neo_assets.core.place import store_root

MEMORY = "digests.jsonl"
"""File of the store that remembers: one line a file, the last line counts."""
CODE_MEMORY = ROOT / ".neo" / "texts.jsonl"
"""What modules say, beside a checkout: it depends on no store."""
SETTLED_NS = 2_000_000_000
AT_LOAD_BYTES = 1 << 30
"""What is hashed at most when definitions load: about a second. More than that is told apart by size and time until it
is read.
"""

_known: dict[str, str] = {}
_read_to: dict[Path, int] = {}


def remembered_digest(path: Path) -> str:
    """Digest of a file's bytes (:func:`~neo_assets.core.fingerprint.digest_file`). Raises OSError."""
    return known_digest(path) or _remember(lambda: _identity(path), lambda: digest_file(path), path.stat().st_ctime_ns)


def known_digest(path: Path) -> str | None:
    """The digest of a file, if it was hashed before and has not been written since."""
    return recall(_identity(path))


def digests_at_load(paths: Sequence[Path]) -> list[str]:
    """A digest for each file, for what is declared when definitions load: of its bytes, or of its size and time where
    reading it would take too long.
    """
    unknown = [path for path in paths if known_digest(path) is None]
    if sum(path.stat().st_size for path in unknown) <= AT_LOAD_BYTES:
        return [remembered_digest(path) for path in paths]
    return [
        known_digest(path) or f"not read yet: {path.stat().st_size} bytes of {path.stat().st_mtime_ns}"
        for path in paths
    ]


def remembered_tree(root: Path, chosen: Sequence[str], files: Callable[[], Iterable[tuple[str, Path]]]) -> str:
    """Digest of some files below a folder, by name; as long as nothing below it changes, one walk over it tells.
    ``chosen`` says which ``files`` gives.
    """
    newest = 0

    def identity() -> str:
        nonlocal newest
        listing = sorted(_entries(root))
        newest = max((changed for *_, changed in listing), default=0)
        return digest_json(["tree", str(root), list(chosen), listing])

    if (digest := recall(identity())) is not None:
        return digest
    return _remember(
        identity, lambda: digest_json([[name, digest_file(path)] for name, path in sorted(files())]), newest
    )


def _entries(folder: Path) -> Iterator[tuple[str, int, int, int, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}{os.sep}{name}"  # 6,000 files in 30 ms; as Path objects they take four times as long
            with contextlib.suppress(OSError):
                facts = os.stat(path)  # noqa: PTH116
                yield path, facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


def _identity(path: Path) -> str:
    facts = path.stat()
    return digest_json([str(path.absolute()), facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns])


def _remember(identity: Callable[[], str], digest_of: Callable[[], str], changed: int) -> str:
    before = identity()
    digest = digest_of()
    if identity() == before and time.time_ns() - changed > SETTLED_NS:
        keep(before, digest)
    return digest


def recall(identity: str) -> str | None:
    """What was kept under an identity, by this process or another."""
    _read_memory()
    return _known.get(identity)


def keep(identity: str, value: str) -> None:
    """Keep a value for all who use this store. An identity holds everything that decides the value, and never has
    another.
    """
    _known[identity] = value
    _append(store_root() / MEMORY, identity, value)


def recall_of_code(identity: str) -> str | None:
    """What was kept of our own code, for this store or beside the checkout: a new store need not have it read again."""
    known = recall(identity)
    if known is None and (known := _beside(CODE_MEMORY).get(identity)) is not None:
        keep(identity, known)  # workers run from a copy of the code, which has no such file
    return known


def keep_of_code(identity: str, value: str) -> None:
    """Keep a value for this store, and beside the checkout if this is one."""
    keep(identity, value)
    if (ROOT / "pyproject.toml").is_file():
        _beside(CODE_MEMORY)[identity] = value
        with contextlib.suppress(OSError):
            CODE_MEMORY.parent.mkdir(exist_ok=True)
        _append(CODE_MEMORY, identity, value)


@functools.cache
def _beside(file: Path) -> dict[str, str]:
    """Read once a process."""
    try:
        return dict(_entries_of(file.read_bytes()))
    except OSError:
        return {}


def _append(file: Path, identity: str, value: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
        try:
            os.write(descriptor, json.dumps([identity, value]).encode() + b"\n")
        finally:
            os.close(descriptor)


def _entries_of(data: bytes) -> Iterator[tuple[str, str]]:
    """What whole lines say."""
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            identity, value = json.loads(line)
            yield identity, value


def _read_memory() -> None:
    """Lines that have come since this process looked last."""
    file = store_root() / MEMORY
    try:
        size = file.stat().st_size
    except OSError:
        return
    begin = _read_to.get(file, 0)
    if size <= begin:
        return
    with file.open("rb") as stream:
        stream.seek(begin)
        data = stream.read()
    end = data.rfind(b"\n") + 1
    _known.update(_entries_of(data[:end]))
    _read_to[file] = begin + end
