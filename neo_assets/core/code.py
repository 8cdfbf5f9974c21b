"""The code and the libraries that count: found by walking imports, so that nobody has to remember to list them.

Code counts by its syntax tree with docstrings dropped, so a comment or a reworded docstring makes nothing stale. Only
modules reachable by imports from the stage's own function count: a changed Chinese rule leaves English artifacts alone.
With a module count the packages it lies in, the distributions it imports (by their installed versions), Python's minor
version (its Unicode tables decide text), and the files of ours it reads: whatever a module that knows its own place
(``__file__``) names in a string.

The schema and io modules in ``neo_assets.core`` are left out of an artifact's fingerprint and count by
:data:`~neo_assets.core.fingerprint.CORE_VERSION` instead, so that a new recipe field does not throw away every artifact
on disk. A test pins the digest of their syntax trees to that number: who changes them has to say whether it alters what
stages write. A job that runs, on the other hand, is held to all of its code, the core included (``frozen.py``).
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.fingerprint import ROOT, digest_file
from neo_assets.core.moved import counted_name, counted_place
from neo_assets.core.syntax import Text, read_text, remembered_text

COUNTED_PACKAGES = ("neo_assets", "training", "resources")
COUNTED_BY_VERSION = ("neo_assets.core", "neo_assets.declare")
BEHIND = frozenset({"datatrove", "loguru", "multiprocess", "obstore", "psutil", "ray", "torch"})
"""Libraries by which the core runs processes, carries bytes and looks at the machine: no part of what anything is made
of, unless a stage itself imports them.
"""
PYTHON = "python"
STARTED = time.time_ns()
"""About when this process was started."""


@dataclass(frozen=True)
class Module:
    """One of our modules, as its file was when this process first looked."""

    name: str
    file: Path
    digest: str  # of the syntax tree
    counted: str  # of the tree as it counts in an artifact's identity (``syntax.py``)
    counted_as: str  # the name that it counts under there (``moved.py``)
    ours: tuple[str, ...]  # modules of ours that it imports
    foreign: tuple[str, ...]  # top-level names of others that it imports or looks for
    data: tuple[tuple[str, str], ...]  # files of ours, not Python, that it reads: path below the root, digest
    changed: int  # when the file was written last, in nanoseconds
    imported: bool  # whether this process had imported it before it was read


def counts(name: str) -> bool:
    """Whether a module is part of an artifact's fingerprint, rather than counted by version."""
    return not any(name == p or name.startswith(p + ".") for p in COUNTED_BY_VERSION)


def module_file(name: str, root: Path) -> Path | None:
    """Source file of a module below ``root``; None where there is none."""
    base = root.joinpath(*name.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def all_modules() -> list[str]:
    """Names of all modules of ours, packages included."""
    files = (file.relative_to(ROOT) for package in COUNTED_PACKAGES for file in (ROOT / package).rglob("*.py"))
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)


@functools.cache
def module(name: str) -> Module:
    """A module of ours, read once a process. Raises ModuleNotFoundError where it has no file."""
    return read_module(name, ROOT, remembered_text)


def read_module(name: str, root: Path, read: Callable[[bytes, str], Text] = read_text) -> Module:
    """A module as its file below ``root`` is now. Raises ModuleNotFoundError where it has no file."""
    file = module_file(name, root)
    if file is None:
        raise ModuleNotFoundError(f"no source file for {name} under {root}")
    written = file.stat().st_mtime_ns
    try:
        text = read(file.read_bytes(), name if file.name == "__init__.py" else name.rpartition(".")[0])
    except SyntaxError as error:
        error.filename = str(file)
        raise
    ours = tuple(n for n in text.named if _is_ours(n, name) and module_file(n, root) is not None)
    foreign = {n.split(".")[0] for n in text.named if not _is_ours(n, name)} - sys.stdlib_module_names
    data = tuple(
        (place.relative_to(root).as_posix(), digest_file(place)) for place in _data_files(text.beside, file.parent)
    )
    return Module(
        name=name,
        file=file,
        digest=text.digest,
        counted=text.counted,
        counted_as=counted_name(name),
        ours=ours,
        foreign=tuple(sorted(foreign)),
        data=data,
        changed=written,
        imported=name in sys.modules,
    )


def edited_before_import(name: str) -> bool:
    """Whether a module may have been imported with another text than :func:`module` read: it was imported later, and
    has changed by then; or changed while this process started.
    """
    read = module(name)
    if read.imported:
        return STARTED < read.changed <= time.time_ns()
    return read.file.stat().st_mtime_ns != read.changed and read_module(name, ROOT).digest != read.digest


def _is_ours(name: str, importer: str) -> bool:
    return name.split(".")[0] in (*COUNTED_PACKAGES, importer.split(".")[0])


def _data_files(names: Iterable[str], folder: Path) -> Iterator[Path]:
    """Files in a module's folder: those that ``names`` are of, and all below the folders they are of."""
    for place in sorted(folder / name for name in names):
        if place.is_dir():
            yield from sorted(p for p in place.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc"))
        elif place.is_file() and place.suffix != ".py":
            yield place


# ------------------------------------------------------------------ walking


@functools.cache
def reachable(*roots: str) -> dict[str, Module]:
    """Modules of ours that can be reached by imports from ``roots``, with the packages they lie in, by name."""
    found: dict[str, Module] = {}
    waiting = sorted(set(roots))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = module(name)
        waiting += found[name].ours
        package = name.rpartition(".")[0]
        waiting += [package] if package and module_file(package, ROOT) else []
    return dict(sorted(found.items()))


def digests(modules: Iterable[Module]) -> dict[str, str]:
    """Digest of each module, by its name, and of each file it reads, by its path."""
    modules = list(modules)
    return {m.name: m.digest for m in modules} | {path: digest for m in modules for path, digest in m.data}


def code_reachable_from(roots: Iterable[str]) -> dict[str, str]:
    """Digest of every module (and file read) that counts in the fingerprint of what the modules in ``roots`` make, by
    the name it is counted under (``moved.py``).
    """
    modules = [m for m in reachable(*sorted(roots)).values() if counts(m.name)]
    found = [(m.counted_as, m.name, m.counted) for m in modules]
    found += [(counted_place(place), place, digest) for m in modules for place, digest in m.data]
    out: dict[str, str] = {}
    for counted, today, digest in sorted(found, key=lambda entry: entry[0] != entry[1]):
        # A name that another has by now, who says something else: both count, each under its own.
        out[counted if out.get(counted, digest) == digest else today] = digest
    return out


def code_of(function: Callable[..., object]) -> dict[str, str]:
    """Code behind a stage function: the modules it can reach, and its own name, since a module may hold two stages."""
    stage = f"{counted_name(function.__module__)}.{function.__qualname__}"
    return {**code_reachable_from([function.__module__]), "stage": stage}


def libraries_reachable_from(roots: Iterable[str]) -> dict[str, str]:
    """Installed version of every distribution that these modules, or modules they reach, import; and Python's minor
    version.

    A library that is not installed is left out: what it would change, it cannot. Those of the core count, too (numba
    compiles through it), but for what is only behind it (:data:`BEHIND`).
    """
    return versions(
        name for m in reachable(*sorted(roots)).values() for name in m.foreign if counts(m.name) or name not in BEHIND
    )


# ------------------------------------------------------------------ libraries


def versions(imported: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that provide these top-level names, by distribution."""
    provided = _distributions()
    found = {distribution for name in set(imported) for distribution in provided.get(name, ())}
    return {PYTHON: python_version()} | {name: version_of(name) for name in sorted(found)}


@functools.cache
def _distributions() -> dict[str, list[str]]:
    """Distributions that provide each top-level name. Reads the records of all that is installed: 0.3 s, once a
    process.
    """
    return {
        name: sorted({d.lower().replace("_", "-") for d in found})
        for name, found in importlib.metadata.packages_distributions().items()
    }


@functools.cache
def version_of(distribution: str) -> str:
    """Installed version, with the build where it is told: torch for CUDA 12.6 and torch for a CPU are two libraries.
    Raises PackageNotFoundError.
    """
    version = importlib.metadata.version(distribution)
    return version if distribution != "torch" or "+" in version else f"{version}+{_torch_build() or 'cpu'}"


def _torch_build() -> str | None:
    """CUDA or ROCm that torch was built for, without importing it: wheels of the main index do not say so in their
    version.
    """
    found = importlib.util.find_spec("torch")
    file = Path(str(found.origin)).with_name("version.py") if found and found.origin else None
    text = file.read_text(encoding="utf-8") if file and file.is_file() else ""
    built = re.search(r"^(cuda|hip)\b[^=\n]*= '([\d.]+)", text, re.MULTILINE)
    return f"{built[1]}{built[2]}" if built else None


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
