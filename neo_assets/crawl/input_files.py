"""Files that a source names: on this machine, in folders, or at a remote place (``s3://``, ``hf://``, whatever fsspec
reads).

A remote file is told apart by what its store says of it (size, ETag, time), is asked about when the source's catalogue
is made and not when definitions load, and is copied to this machine while it is read. What its store said is remembered
by its place and the source's snapshot.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from neo_assets.core.errors import BadInput
from neo_assets.core.file_systems import USUAL, file_system
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.remembered import keep, recall, remembered_digest

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_TELLING = (
    "size",
    "ETag",
    "etag",
    "blob_id",
    "lfs",
    "mtime",
    "LastModified",
    "last_modified",
    "md5Hash",
    "content_md5",
)
"""Fields of a remote file's description that change when the file does."""
_BY_TAG = ("size", "e_tag")
"""Of one that names a tag of the content: what else is told differs with how it is asked."""
_PACKED = (".gz", ".zst", ".zstd", ".bz2", ".xz")


class HasPaths(Protocol):
    """A source that reads files."""

    @property
    def kind(self) -> str: ...
    @property
    def paths(self) -> list[str]: ...
    @property
    def snapshot(self) -> str: ...


@dataclass(frozen=True)
class InputFile:
    """One file of a source. ``name``: below the folder that the recipe names, or its own; ``token``: of a remote one,
    what its store says of it.
    """

    name: str
    place: str
    size: int
    token: str = ""

    @cached_property
    def suffix(self) -> str:
        """The ending that tells its kind, without that of its compression: ``.jsonl`` of ``x.jsonl.zst``."""
        return Path(self.name.removesuffix(self.packed)).suffix.lower()

    @cached_property
    def packed(self) -> str:
        """The ending of its compression; "" for none."""
        return next((end for end in _PACKED if self.name.endswith(end)), "")

    def digest(self) -> str:
        """Of its bytes; of a remote file, of what its store says. Raises OSError."""
        return self.token or remembered_digest(Path(self.place))

    @contextlib.contextmanager
    def local(self, scratch: Path) -> Iterator[Path]:
        """The file on this machine, while it is read; a copy below ``scratch`` of a remote one.

        Raises:
            BadInput: it cannot be had; names it and the reason.
        """
        if not self.token:
            yield Path(self.place)
            return
        copy = scratch / "remote" / digest_json([self.place])
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _told(self.place):
                system, path = file_system(self.place)
                system.get_file(path, str(copy))
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def is_remote(pattern: str) -> bool:
    return _SCHEME.match(pattern) is not None


def input_files(config: HasPaths, suffixes: Sequence[str] = ()) -> list[InputFile]:
    """Files behind ``paths``, in name order: files, glob patterns, and folders, of which files with one of the
    ``suffixes`` count (all, without any). Remote places are asked.

    Raises:
        BadInput: nothing is there, or a remote place cannot be read; names it and the reason.
    """
    found: dict[str, InputFile] = {}
    for pattern in config.paths:
        fitting = _remote_files(pattern, suffixes) if is_remote(pattern) else _local_files(pattern, suffixes)
        if not fitting:
            raise BadInput(
                f"no file matches {pattern}. Point the source's `paths` at existing files ({config.kind})"
                + (f"; of a folder, files named {', '.join(f'*{s}' for s in suffixes)} count." if suffixes else ".")
            )
        found |= {file.place: file for file in fitting}
    files = sorted(found.values(), key=lambda f: (f.name, f.place))
    if any(file.token for file in files):
        keep(_question(config), json.dumps([[f.name, f.place, f.size, f.token] for f in files if f.token]))
    return files


def files_known_at_load(config: HasPaths, suffixes: Sequence[str] = ()) -> list[InputFile]:
    """The same without asking remote places: what they said last, for this snapshot. Raises BadInput."""
    local = [pattern for pattern in config.paths if not is_remote(pattern)]
    told = recall(_question(config)) if len(local) < len(config.paths) else None
    remote = [InputFile(*row) for row in json.loads(told)] if told else []
    here = input_files(_Only(config.kind, local, config.snapshot), suffixes) if local else []
    return sorted([*here, *remote], key=lambda f: (f.name, f.place))


@dataclass(frozen=True)
class _Only:
    kind: str
    paths: list[str]
    snapshot: str


def contents(files: Sequence[InputFile], digests: Callable[[Sequence[Path]], list[str]]) -> dict[str, str]:
    """Digest by name; files of one name are numbered."""
    local = [file for file in files if not file.token]
    known = dict(zip((f.place for f in local), digests([Path(f.place) for f in local]), strict=True))
    times, seen = Counter(file.name for file in files), Counter[str]()
    out: dict[str, str] = {}
    for file in files:
        name = f"{file.name}#{seen[file.name]}" if times[file.name] > 1 else file.name
        seen[file.name] += 1
        out[name] = file.token or known[file.place]
    return out


def total_size(files: Iterable[InputFile]) -> int:
    return sum(file.size for file in files)


def _question(config: HasPaths) -> str:
    return digest_json(["remote files", sorted(config.paths), config.snapshot])


def _local_files(pattern: str, suffixes: Sequence[str]) -> list[InputFile]:
    path = recipe_path(pattern)
    if path.is_dir():
        inside = [(p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file()]
        return [InputFile(name, str(p), p.stat().st_size) for name, p in sorted(inside) if _counts(name, suffixes)]
    matches = [path] if path.is_file() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return [InputFile(p.name, str(p), p.stat().st_size) for p in matches if p.is_file()]


def _remote_files(pattern: str, suffixes: Sequence[str]) -> list[InputFile]:
    with _told(pattern):
        system, path = file_system(pattern)
        system.invalidate_cache()  # a listing of an hour ago says nothing of now
        base = ""
        if any(c in path for c in "*?["):
            infos = {name: info for name, info in system.glob(path, detail=True).items() if info["type"] == "file"}
        elif system.isdir(path):
            infos, base = system.find(path, detail=True), path.rstrip("/") + "/"
        else:
            infos = {path: system.info(path)}
        found = []
        for place, info in sorted(infos.items()):
            name = place.removeprefix(base) if base else PurePosixPath(place.rstrip("/")).name
            if not base or _counts(name, suffixes):
                fields = _BY_TAG if "e_tag" in info else _TELLING
                told = digest_json({field: str(info[field]) for field in fields if info.get(field) is not None})
                place = system.unstrip_protocol(place)
                found.append(InputFile(name, place, int(info.get("size") or 0), f"remote {told}"))
        return found


def _counts(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file of a folder counts: it has one of the endings, and no part of its name is hidden."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and (not suffixes or InputFile(name, "", 0).suffix in suffixes)


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    """Whatever a remote file system does, told with the place; a package that is missing by its name."""
    try:
        yield
    except ImportError as error:
        scheme = place.partition("://")[0]
        what = f"pip install {USUAL[scheme]}" if scheme in USUAL else str(error)
        raise BadInput(f"{place} cannot be read: {scheme}:// needs a package that is not installed: {what}") from error
    except BadInput:
        raise
    except Exception as error:  # every file system has errors of its own
        raise BadInput(f"{place} cannot be read: {type(error).__name__}: {str(error)[:300]}") from error
