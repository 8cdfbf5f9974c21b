"""Every stage of the data half, up to the token ids, on every engine: the same digests, and what an engine costs.

``python -m benchmarks.engines inline local slurm ray``: the factory's own job in a store of its own for each engine, on
the pages that the tests are written with, from the sites to the token ids. Slurm has three nodes and Ray three, all on
this machine; every call over files is a job there, however small. The first engine named is what the others are
compared with. ``--pages N`` makes more pages.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import job_folders
from neo_assets.core.manifest import Manifest
from neo_assets.core.shard_job import progress
from neo_assets.core.store import Store
from tests.factory.conftest import write_instance
from tests.factory.site import write_site
from tests.servers import Ray, Slurm

ENGINES = ("inline", "local", "slurm", "ray")
LAST = ("token_shards_fundamental", "token_shards_decay")
PACKAGES = Path(tempfile.gettempdir()) / f"neofoundry-packages-{os.getuid()}"


@contextlib.contextmanager
def cluster(engine: str, folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """(environment, lines of `compute.data`) of an engine, with its cluster where it needs one."""
    if engine == "slurm":
        extra = "MessageTimeout=5\nKillWait=3\n"
        with Slurm(folder / "slurm", PACKAGES, grace=5, extra=extra, nodes=3) as server:
            yield server.env, "engine: slurm, partition: train, memory: '1300', tasks: 3, at_least_mb: 0"
    elif engine == "ray":
        with Ray(folder) as server:
            yield {}, f"engine: ray, address: '{server.address}', memory: 1300M, tasks: 3, at_least_mb: 0"
    else:
        yield {}, "at_least_mb: 0"  # however little, to two processes; "inline" has one


def build(engine: str, folder: Path, site: Path) -> dict[str, Manifest]:
    """Manifests of the data half, made in a store of its own."""
    mine = folder / engine
    mine.mkdir(parents=True)
    for base in ("ci", "laptop"):
        (mine / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
    write_instance(mine / "home")
    with cluster(engine, mine) as (more, lines):
        workers = 1 if engine == "inline" else 2
        recipe = mine / "engines.yaml"
        recipe.write_text(f"extends: ci\nname: engines\ncompute: {{workers: {workers}, data: {{{lines}}}}}\n")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))} | more
        environment |= {"NEO_RECIPE": str(recipe), "NEO_STORE": str(mine / "store"), "NEO_CI_SITE": str(site)}
        environment |= {"DAGSTER_HOME": str(mine / "home"), "PYTHONWARNINGS": "ignore", "CI": "true"}
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "definitions", "--select"]
        command.append(",".join(f"*{name}" for name in LAST))
        log = mine / "log.txt"
        with log.open("w") as stream:
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, check=False)
        if done.returncode:
            raise SystemExit(f"{engine}: the job ended with {done.returncode}; the end of {log}:\n{_end(log)}")
    store = Store(mine / "store")
    return {name: store.head("engines", name).manifest for name in store.heads("engines")}


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def differing(made: Mapping[str, Mapping[str, Manifest]]) -> list[str]:
    """Stages whose digests are not the same on all engines."""
    first = next(iter(made.values()))
    return [name for name in first if len({m[name].digest for m in made.values() if name in m}) != 1]


def main() -> None:
    arguments = sys.argv[1:]
    pages = int(arguments.pop(arguments.index("--pages") + 1)) if "--pages" in arguments else 60
    engines = [a for a in arguments if a != "--pages"] or list(ENGINES)
    with tempfile.TemporaryDirectory() as place:
        folder, made, seconds = Path(place), dict[str, dict[str, Manifest]](), dict[str, float]()
        site = write_site(folder / "site", pages)
        for engine in engines:
            begin = time.monotonic()
            made[engine] = build(engine, folder / "made", site)
            seconds[engine] = time.monotonic() - begin
        print(f"  {'stage':<28}{'digest':>14}" + "".join(f"{e:>10}" for e in engines[1:]))
        for name, told in made[engines[0]].items():
            same = ["=" if made[e][name].digest == told.digest else "OTHER" for e in engines[1:]]
            print(f"  {name:<28}{told.digest[:12]:>14}" + "".join(f"{s:>10}" for s in same))
        for engine in engines:
            jobs = [progress(job) for job in job_folders(folder / "made" / engine / "store") if job.spec().tasks]
            cpu = sum(m.cpu_seconds or 0 for m in made[engine].values())
            print(
                f"  {engine:<8}{len(jobs):>5} jobs, {sum(j.shards for j in jobs):>6} files, {cpu:>7.1f} CPU s told,"
                f" {seconds[engine]:>6.0f} s"
            )
        if wrong := differing(made):
            raise SystemExit(f"not the same on all engines: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
