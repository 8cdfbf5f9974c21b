"""Stages whose files a job of one process writes: asked of the compute backend, waited for, taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec, Message
from neo_assets.core.store import Outcome, Store, Workspace
from neo_assets.declare import AttendedStage, C, Making
from resources.compute.base import Compute

THREADS = 2
"""Threads of such a job, unless it is told otherwise; they change no bit of an export."""


@dataclass(frozen=True)
class Aside:
    """Where the job of an artifact (``name``, with its fingerprint) runs."""

    name: str
    fingerprint: str
    store: Store
    jobs: Compute

    def run(
        self,
        program: str,
        config: Mapping[str, object],
        inputs: Mapping[str, Path],
        out: Workspace,
        about: str = "",
        threads: int = THREADS,
    ) -> None:
        """Have a program write its files into ``out``; ``about``: what its title says besides the name. Raises
        JobFailed.
        """
        spec = JobSpec(
            work_fingerprint=self.fingerprint,
            title=f"{self.name} {about}".strip(),
            program=program,
            **claimed(program),
            max_attempts=2,
            threads_per_rank=threads,
            config=dict(config),
            inputs={name: self.store.relative(folder) for name, folder in inputs.items()},
            out=f"jobs/{self.fingerprint}/out",
            makes=[f"{self.name}/{self.fingerprint}"],
        )
        run_to_end(self.jobs, spec)
        _take(self.store.root / spec.out, out)


@dataclass(frozen=True)
class JobStage(AttendedStage[C], Generic[C]):
    """Its function is given where its job runs, besides config, inputs and folder."""

    def make(self, at: Making, out: Workspace) -> Outcome:
        aside = Aside(self.name, self.made_from(at.inputs).fingerprint, at.store, at.compute)
        return self.run(self.config, at.inputs, out, aside)


def run_to_end(jobs: Compute, spec: JobSpec, heard: Callable[[Message], None] = lambda _: None) -> JobFolder:
    """Submit (or attach to) a job and wait for it; ``heard`` is given what it reports. Raises JobFailed."""
    folder = jobs.submit(spec)
    for message in jobs.follow(folder):
        heard(message)
    return folder


def _take(source: Path, out: Workspace) -> None:
    """Move a finished job's files into an artifact's folder. Safe to repeat after a kill: what was moved is not there
    any more.
    """
    for path in _files(source):
        target = out.path / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _files(folder: Path) -> Iterator[Path]:
    yield from (p for p in sorted(folder.rglob("*")) if p.is_file())
