"""The code of a release: the modules that made it, held to the digests that manifests and certificates have of them.

A digest is of a module's syntax tree, so only the same minor version of Python can compare; comments and docstrings are
held by the sums of the files alone. What an artifact of earlier code says of itself, and is still part of the release,
is named when the release is made, and no other difference is allowed afterwards.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neo_assets.core.code import COUNTED_PACKAGES, PYTHON, module_file, python_version, read_module
from neo_assets.core.fingerprint import ROOT, digest_file
from neo_assets.core.manifest import Manifest
from neo_assets.core.moved import names_today, places_today
from neo_assets.core.same_file import take_over
from neo_assets.core.store import Workspace
from neo_assets.release import layout
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, SHOWN, Bundle, Claim

CLAIM = "the code is that which every step's manifest, and every certificate, names"
BESIDE = ("LICENSE", "pyproject.toml", "constraints.txt", "definitions.py", "dagster.yaml")
OTHER = "code_differs"
"""Of ``release.json``: what was made by code of another version."""


@dataclass(frozen=True)
class Compared:
    """``same``: digests that were compared and are equal; ``other``: modules and files that are another, or lack;
    ``elsewhere``: who was made by another Python, and cannot be compared.
    """

    same: int
    other: list[str]
    elsewhere: list[str]


def write_code(out: Workspace) -> None:
    """Copy our packages, as they are installed here, with what they need beside them."""
    for package in COUNTED_PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                take_over(path, out.path / layout.CODE / path.relative_to(ROOT))
    for name in BESIDE:
        if (ROOT / name).is_file():
            take_over(ROOT / name, out.path / layout.CODE / name)


def compared(folder: Path, manifests: Iterable[Manifest]) -> Compared:
    """The code in a release beside what its manifests and certificates say was run."""
    digests = functools.cache(functools.partial(_digests, root=folder / layout.CODE))
    same, other, elsewhere = 0, set(), set()
    for who, python, name, digest, of_a_job in _told(folder, manifests):
        if python != python_version():
            elsewhere.add(f"{who} (Python {python})")
            continue
        there = [digests(today) for today in (places_today if "/" in name else names_today)(name)]
        if any(found is not None and digest in (found[:1] if of_a_job else found) for found in there):
            same += 1
        else:
            other.add(f"{name} of {who}")
    return Compared(same, sorted(other), sorted(elsewhere))


def _told(folder: Path, manifests: Iterable[Manifest]) -> Iterator[tuple[str, str, str, str, bool]]:
    """(who, Python, module or file, digest, whether a job was held to it) of everything that was run."""
    for made in manifests:
        python = made.made_from.libraries.get(PYTHON, python_version())
        for name, digest in made.made_from.code.items():
            if name != "stage":
                yield f"{made.key} {made.fingerprint[:12]}", python, name, digest, False
    for path in sorted((folder / layout.CERTIFICATES).rglob("certificate.json")):
        told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        python = told["versions"][PYTHON]
        for name, digest in told.get("code", {}).items():
            yield f"{told['run']}@{told['step']}", python, name, digest, True


def _digests(name: str, root: Path) -> tuple[str, str] | None:
    """Both digests of a module, or that of a file twice; None where it is not here."""
    if module_file(name, root) is not None:
        found = read_module(name, root)
        return found.digest, found.counted
    file = root / name
    if name and file.is_file():
        digest = digest_file(file)
        return digest, digest
    return None


def code(bundle: Bundle) -> Iterator[Claim]:
    """Whether the code in a release is what was run."""
    found = compared(bundle.folder, bundle.manifests.values())
    wrong = sorted(set(found.other) - set(bundle.told[OTHER]))
    if wrong:
        more = f"; {len(wrong) - SHOWN} more" if wrong[SHOWN:] else ""
        yield Claim(CLAIM, REFUTED, f"{layout.CODE}/ has another, or none: {'; '.join(wrong[:SHOWN])}{more}")
        return
    told = f"{found.same:,} digests of modules and files"
    if found.other:
        told += f"; made by an earlier version, whose code is not here: {len(found.other)} ({found.other[0]} …)"
    if found.elsewhere:
        yield Claim(CLAIM, CLAIMED, f"{told}; another Python has to compare: {', '.join(found.elsewhere[:SHOWN])}")
        return
    yield Claim(CLAIM, PROVEN, told)
