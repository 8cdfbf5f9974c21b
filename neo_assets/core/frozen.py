"""What runs is what is claimed: a job's own copy of its code, and what a process really runs with.

A job is asked with certain code, libraries and Python; they are in its specification. The code is copied into the job's
folder when it is asked for and runs from there, so that an edit, a `git pull` or a removed checkout can neither change
nor break a run that is put back into the queue for weeks. Every process of a job reads what it would import and which
versions are installed where it runs, before its first step; a difference ends it with one line. That costs half a
second a process on a loaded machine (docs/measurements.md), and a copy of the reachable modules a job. Libraries are
not copied: an environment that was changed under a job is refused.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from neo_assets.core.code import (
    COUNTED_PACKAGES,
    PYTHON,
    digests,
    edited_before_import,
    libraries_reachable_from,
    module_file,
    python_version,
    reachable,
    read_module,
    version_of,
)
from neo_assets.core.errors import ChangedCode
from neo_assets.core.fingerprint import ROOT, digest_file, digest_json
from neo_assets.core.moved import names_today
from neo_assets.core.records import aside_of

LAUNCH = "neo_assets.core.launch"
"""The program that every job starts with."""
COPIES = "code"
"""Folder of a store that holds the copies which jobs share."""
CODE = "code"
"""Folder of a job that holds its copy of the code."""
SHOWN = 5
"""Differences that are named; there may be more."""


class Claimed(TypedDict):
    """What a job is asked with."""

    code: dict[
        str, str
    ]  # digest of every module of ours the program can reach, the core included, and of every file these read
    libraries: dict[str, str]  # by distribution, and Python


def claimed(*programs: str) -> Claimed:
    """What a job, or a worker, that runs these modules is asked with now."""
    return Claimed(
        code=digests(reachable(*sorted({*programs, LAUNCH})).values()), libraries=libraries_reachable_from(programs)
    )


def freeze(code: Mapping[str, str], folder: Path) -> None:
    """Have ``folder`` hold the code that a job was asked with. What is there and right, stays.

    Raises:
        ChangedCode: the code that this process would copy is not what the job was asked with.
    """
    if folder.is_dir() and not differing(code, folder):
        return
    if changed := differing(code, ROOT):
        raise ChangedCode(
            f"the code has changed since the job was asked for ({_some(changed)}), and its own copy in {folder} "
            + (
                "is not whole. "
                if folder.is_dir()
                else "was not made yet: this process was started before the change; start it again. "
            )
        )
    aside = aside_of(folder)
    shutil.rmtree(aside, ignore_errors=True)
    for name in code:
        file = _file(name, ROOT)
        target = aside / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def freeze_shared(code: Mapping[str, str], link: Path, copies: Path) -> None:
    """Have ``link`` lead to a copy of all our modules, named by their text, below ``copies``. What it leads to and is
    right, stays.

    Raises:
        ChangedCode: the code that this process would copy is not what the job was asked with.
    """
    if link.is_dir() and not differing(code, link):
        return
    if changed := differing(code, ROOT):
        raise ChangedCode(
            f"the code has changed since the job was asked for ({_some(changed)}), and no copy of it was made: this"
            " process was started before the change; start it again"
        )
    files = [
        file
        for package in COUNTED_PACKAGES
        for file in sorted((ROOT / package).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    ]
    outside = [_file(name, ROOT) for name in code if name.split(".")[0].split("/")[0] not in COUNTED_PACKAGES]
    told = {file.relative_to(ROOT).as_posix(): digest_file(file) for file in [*files, *outside]}
    copy = copies / digest_json(told)
    if differing(code, copy):
        aside = aside_of(copy)
        for name in told:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, aside / name)
        shutil.rmtree(copy, ignore_errors=True)
        aside.rename(copy)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../..") / copies.name / copy.name, target_is_directory=True)


def _file(name: str, root: Path) -> Path:
    """File of a module, or a file that is named by its path, below ``root``."""
    return module_file(name, root) or root / name


def found(code: Mapping[str, str], root: Path) -> dict[str, str]:
    """Digests of the same modules and files as they are below ``root``; those that are not there are left out."""
    out: dict[str, str] = {}
    for name in code:
        if "/" in name:
            out |= {name: digest_file(root / name)} if (root / name).is_file() else {}
        elif module_file(name, root):
            out[name] = read_module(name, root).digest
    return out


def differing(code: Mapping[str, str], root: Path) -> list[str]:
    """What of ``code`` is not the same below ``root``, in words."""
    there = found(code, root)
    return [
        f"{name} {'has changed' if name in there else 'is not there'}"
        for name, digest in code.items()
        if there.get(name) != digest
    ]


def installed(libraries: Mapping[str, str]) -> dict[str, str]:
    """Versions of the same distributions as this process has them; those that are not installed are left out."""
    out = {}
    for name in libraries:
        try:
            out[name] = python_version() if name == PYTHON else version_of(name)
        except ModuleNotFoundError:  # PackageNotFoundError is one
            continue
    return out


def held_to(asked: Claimed) -> Claimed:
    """What this process runs with, as it is found here: its own code, the libraries installed. Raises ChangedCode, with
    every difference, where that is not what was asked.
    """
    here = Claimed(code=found(asked["code"], ROOT), libraries=installed(asked["libraries"]))
    wrong = [
        f"{n} {'has changed' if n in here['code'] else 'is not there'}"
        for n, d in asked["code"].items()
        if here["code"].get(n) != d
    ]
    wrong += [
        f"{n} was {v}, is {here['libraries'].get(n, 'not installed')} here"
        for n, v in asked["libraries"].items()
        if here["libraries"].get(n) != v
    ]
    if wrong:
        raise ChangedCode(f"not what was asked, nothing was run: {_some(wrong)}")
    return here


def running(asked: Claimed, folder: Path) -> Claimed:
    """:func:`held_to`, for a process that is to run from ``folder``, a job's own copy."""
    if folder.resolve() != ROOT:
        raise ChangedCode(
            f"not what was asked, nothing was run: modules are imported from {ROOT}, not from the job's own copy"
        )
    return held_to(asked)


def imported_elsewhere(code: Mapping[str, str]) -> list[str]:
    """Modules of ours in this process that do not come from where they should, or that nobody knew
    could be imported.
    """
    tops = {name.split(".")[0] for name in code if "/" not in name}
    mine = {n: m for n, m in list(sys.modules.items()) if n.split(".")[0] in tops and getattr(m, "__file__", None)}
    return [
        f"{n} was imported from {m.__file__}" if n in code else f"{n} is imported, but no import statement leads to it"
        for n, m in sorted(mine.items())
        if n not in code or ROOT not in Path(str(m.__file__)).resolve().parents
    ]


def refuse_what_was_edited(code: Iterable[str]) -> None:
    """Raises ChangedCode where a module was edited between the moment this process read its text and the moment it
    imported it.

    A stage that runs in this process is claimed with the text that was read when definitions were loaded; what it
    imports only when it runs may be younger. What was imported before is what was read, and may be edited freely.
    """
    wrong = [
        f"{name} was edited"
        for counted in code
        for name in names_today(counted)
        if "/" not in name and name in sys.modules and name != "stage" and edited_before_import(name)
    ]
    if wrong:
        raise ChangedCode(
            f"code was edited after this process had read it and before it imported it ({_some(wrong)}). Nothing was"
            " kept of what it made; load the definitions again"
        )


def _some(lines: list[str]) -> str:
    return "; ".join(lines[:SHOWN]) + (f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
