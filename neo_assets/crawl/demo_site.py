"""Fetch the demo site: HTML pages from Debian documentation packages, unpacked without installing anything.

``apt-get download`` verifies the packages' signatures and ``dpkg-deb`` unpacks them into a temporary folder; only HTML
files, two guides in PDF and each package's copyright file are kept (about 90 MB). The price is a Debian-like machine;
anywhere else a recipe points at any folder of HTML pages instead, and the message says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from neo_assets.core.errors import MachineLacks
from neo_assets.core.records import write_text

PACKAGES: Mapping[str, Mapping[str, str]] = {
    "debian-handbook": {"usr/share/doc/debian-handbook/html": "debian-handbook/html"},
    "libreoffice-help-en-us": {"usr/share/libreoffice/help/en-US": "help/en-US"},
    "libreoffice-help-zh-cn": {"usr/share/libreoffice/help/zh-CN": "help/zh-CN"},
    "maint-guide": {"usr/share/doc/maint-guide/*.pdf": "guides/en"},
    "maint-guide-zh-cn": {"usr/share/doc/maint-guide-zh-cn/*.pdf": "guides/zh-cn"},
}
"""Package name -> folder in the package, or files in it -> folder of the demo site. Of a folder HTML pages are taken.
"""

MANUALS: Mapping[str, Mapping[str, str]] = {
    "gimp-help-common": {},
    "gimp-help-en": {"usr/share/gimp/2.0/help/en": "gimp/en"},
    "gimp-help-zh-cn": {"usr/share/gimp/2.0/help/zh_CN": "gimp/zh_CN"},
    "python3.11-doc": {"usr/share/doc/python3.11/html": "python"},
    "debian-reference-en": {"usr/share/debian-reference": "debian-reference"},
    "debian-reference-zh-cn": {"usr/share/debian-reference": "debian-reference-zh-cn"},
}
"""Further real documents, for the recipe `manuals`: GIMP's help, Python's documentation, Debian's reference."""

ELSEWHERE = (
    "Without the demo site, let a recipe's source point at any folder of HTML pages (`kind: html_folder`, `path:"
    " /some/folder`) or at a list of URLs (`kind: crawl`, `seeds: [https://...]`)."
)
_MARKER = "demo-site.json"


def fetch_demo_site(
    target: Path, packages: Mapping[str, Mapping[str, str]] = PACKAGES, log: Callable[[str], None] = lambda _: None
) -> Path:
    """Fill ``target`` with the HTML pages of ``packages`` and return it; a filled folder is left as it is.

    Below ``target``: ``debian-handbook/html/<language>/``, ``help/<language>/text/``, ``<package>.copyright``.

    Raises:
        MachineLacks: no apt-get or dpkg-deb, no package lists, or a package that cannot be downloaded; says what to do.
    """
    if is_fetched(target, packages):
        return target
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise MachineLacks(
                f"{program} is not on this machine, so the demo site (Debian packages {', '.join(packages)}) cannot be"
                f" fetched. {ELSEWHERE}"
            )
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as scratch:
        versions = _download(Path(scratch), list(packages), log)
        for package, folders in packages.items():
            log(f"unpacking {package} {versions[package]}")
            _unpack(Path(scratch), package, folders, target)
    write_text(target / _MARKER, json.dumps(versions, indent=1, sort_keys=True))
    return target


def is_fetched(target: Path, packages: Mapping[str, Mapping[str, str]] = PACKAGES) -> bool:
    """Whether ``target`` holds all of ``packages`` already."""
    try:
        versions = json.loads((target / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(versions, dict)
        and set(packages) <= set(versions)
        and all((target / place).is_dir() for folders in packages.values() for place in folders.values())
    )


def _download(scratch: Path, packages: list[str], log: Callable[[str], None]) -> dict[str, str]:
    """Put the packages' files into ``scratch``; returns their versions."""
    log(f"downloading {', '.join(packages)}")
    done = _apt_get("download", packages, scratch)
    if done.returncode and os.geteuid() == 0:
        log("apt-get download failed; refreshing the package lists (apt-get update)")
        update = _apt_get("update", [], scratch)
        if update.returncode:
            raise MachineLacks(
                f"apt-get update failed: {_last_line(update)}. Check the network and the machine's apt sources."
                f" {ELSEWHERE}"
            )
        done = _apt_get("download", packages, scratch)
    if done.returncode:
        lists = "" if os.geteuid() == 0 else " If the machine has no package lists, run `apt-get update` as root first."
        raise MachineLacks(f"apt-get download {' '.join(packages)} failed: {_last_line(done)}.{lists} {ELSEWHERE}")
    versions = {}
    for package in packages:
        file = _package_file(scratch, package)
        versions[package] = subprocess.run(
            ["dpkg-deb", "--field", str(file), "Version"], check=True, capture_output=True, text=True
        ).stdout.strip()
    return versions


def _apt_get(command: str, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-q", command, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or ["no message"])[0]


def _package_file(folder: Path, package: str) -> Path:
    return next(folder.glob(f"{package}_*.deb"))


def _unpack(scratch: Path, package: str, folders: Mapping[str, str], target: Path) -> None:
    root = scratch / package
    subprocess.run(["dpkg-deb", "-x", str(_package_file(scratch, package)), str(root)], check=True, capture_output=True)
    for named, place in folders.items():
        shutil.rmtree(target / place, ignore_errors=True)
        source, pattern = (str(Path(named).parent), Path(named).name) if "*" in named else (named, "**/*.html")
        for page in (root / source).glob(pattern):
            # A link could lead out of the unpacked tree; the sites need none.
            if page.is_symlink() or not page.is_file():
                continue
            destination = target / place / page.relative_to(root / source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, destination)
    terms = root / "usr/share/doc" / package / "copyright"
    if terms.is_file():  # some packages' folder is a link into another package, which then is in the list as well
        shutil.copyfile(terms, target / f"{package}.copyright")
    shutil.rmtree(root)
