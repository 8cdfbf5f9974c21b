"""Fetch benchmarks' data to where the recipe says they lie: from any fsspec URL, from the hub, or out of a Debian
package.

This is the only part of evaluation that uses a network, and only when asked. Data are written beside their place and
moved there whole, so a broken download leaves nothing that could be taken for a benchmark.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from neo_assets.core.errors import BadInput, MachineLacks
from neo_assets.core.file_systems import file_system
from neo_assets.core.place import PACKAGE, recipe_path
from neo_assets.core.recipe.evaluation import Benchmark, Harness

DEBIAN = "debian:"


def target(benchmark: Benchmark) -> Path:
    """Where the data belong. Raises BadInput for a benchmark that is fetched some other way."""
    if not benchmark.path or benchmark.path.startswith(PACKAGE):
        raise BadInput("its data come with a Python package or are made here: there is nothing to fetch")
    if isinstance(benchmark, Harness):
        if len(benchmark.datasets) > 1:
            raise BadInput(
                f"it needs several data sets ({', '.join(benchmark.datasets)}): put each below {benchmark.path}"
            )
        return recipe_path(benchmark.path) / benchmark.datasets[0]
    return recipe_path(benchmark.path)


def fetch_benchmark(name: str, benchmark: Benchmark) -> tuple[Path, bool]:
    """Fetch one benchmark's data; returns where they are, and whether they were fetched now: data that are there are
    left alone.

    Raises:
        BadInput: the recipe names no URL for it.
        MachineLacks: it cannot be had from here; says why.
    """
    place = target(benchmark)
    if place.exists():
        return place, False
    if benchmark.url is None:
        raise BadInput(f"the recipe names no url for '{name}': put its data at {place}")
    made = [folder for folder in place.parents if not folder.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(benchmark.url, place)
    except MachineLacks:
        for folder in made:
            folder.rmdir()
        raise
    return place, True


def _fetch(url: str, place: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place.parent) as scratch:
        aside = Path(scratch) / place.name
        if url.startswith(DEBIAN):
            package, _, folder = url.removeprefix(DEBIAN).partition("/")
            _from_debian(package, folder, Path(scratch), aside)
        else:
            _from_url(url, aside)
        aside.rename(place)


def _from_url(url: str, aside: Path) -> None:
    try:
        system, path = file_system(url)
        system.get(path, str(aside), recursive=bool(system.isdir(path)))
    except Exception as error:  # every protocol has its own
        raise MachineLacks(
            f"{url} cannot be fetched: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error
    if not aside.exists():
        raise MachineLacks(f"{url}: nothing is there")


def _from_debian(package: str, folder: str, scratch: Path, aside: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise MachineLacks(f"{program} is not on this machine, so the Debian package {package} cannot be fetched")
    done = subprocess.run(["apt-get", "-q", "download", package], cwd=scratch, capture_output=True, text=True)
    if done.returncode:
        raise MachineLacks(
            f"apt-get download {package} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}. Without"
            " package lists, run `apt-get update` as root first."
        )
    subprocess.run(
        ["dpkg-deb", "-x", str(next(scratch.glob(f"{package}_*.deb"))), str(scratch / "root")],
        check=True,
        capture_output=True,
    )
    if not (scratch / "root" / folder).is_dir():
        raise MachineLacks(f"the Debian package {package} has no folder {folder}")
    shutil.copytree(scratch / "root" / folder, aside)
    terms = scratch / "root/usr/share/doc" / package / "copyright"
    if terms.is_file():
        shutil.copyfile(terms, aside / "copyright")
