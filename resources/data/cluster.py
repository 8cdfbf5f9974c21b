"""A call over shards as a job of a cluster: found by its name, followed, tried again, and told about.

The job is called after the artifact that is being made and the files that the call writes, so whoever asks for the same
finds it and follows it: a submitter may die at any time. How many times it is tried counts from the moment it is asked
for. A shard that fails keeps no other from being done; in the next attempt it is tried with those alone that failed
too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neo_assets.core.errors import JobFailed
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.frozen import CODE, claimed
from neo_assets.core.jobs import ALIVE, JobFolder, JobSpec, JobState
from neo_assets.core.recipe.model import DataEngine
from neo_assets.core.shard_job import PROGRAM, Progress, progress, write_call
from neo_assets.core.shards import Call, LocalEngine, modules_of
from neo_assets.core.words import counted
from neo_assets.core.written import PARTIAL
from resources.compute.base import Compute

LOOK_SECONDS = 10.0
"""How often it is read how far a job is, at least."""
WAIT_SECONDS = 0.5
OBSERVE_SECONDS = 300.0
"""How often that goes to whoever observes it."""

Observe = Callable[[str, Progress, float], None]
"""Is told a job's fingerprint, how far it is, and its shards an hour."""


@dataclass(frozen=True)
class ClusterEngine:
    """Jobs of a backend that has tasks; what is too small for one is done here."""

    compute: Compute
    settings: DataEngine
    at_least_bytes: int
    here: LocalEngine
    observe: Observe | None = None

    def run(self, call: Call[Any]) -> None:
        if call.input_bytes < self.at_least_bytes or not call.left():
            self.here.run(call)
            return
        spec = self.spec(call)
        folder = self._asked(spec, call)
        before = folder.failures()
        self.compute.submit(spec)
        call.out.log(
            f"{spec.title}: job {folder.fingerprint[:12]} on {self.compute.name}; `neo logs` shows what it says"
        )
        with self.compute.attending(folder):
            self._follow(folder, call, before)
        call.out.cpu_seconds_elsewhere += progress(folder).cpu_seconds

    def spec(self, call: Call[Any]) -> JobSpec:
        """The job of a call."""
        place = call.out.path
        artifact = place.relative_to(self.compute.root).as_posix().replace(PARTIAL, "")
        targets = [target.relative_to(place).as_posix() for target in call.targets]
        key = artifact.rpartition("/")[0]
        return JobSpec(
            # Two stores may make the same on one cluster, where a job is known by its name alone.
            work_fingerprint=digest_json({"store": str(self.compute.root), "artifact": artifact, "writes": targets}),
            title=f"{key}: {call.name}",
            program=PROGRAM,
            **claimed(*modules_of(call.work), PROGRAM),
            max_attempts=self.settings.attempts,
            config={"shards": len(call.shards)},
            inputs={name: f"{name}/{fingerprint}" for name, fingerprint in call.out.reads.items()},
            out=place.relative_to(self.compute.root).as_posix(),
            tasks=True,
            makes=[artifact],
        )

    def _asked(self, spec: JobSpec, call: Call[Any]) -> JobFolder:
        """The job's folder with what it is to do. What ended is asked for with the code of today: its artifact is the
        same by whatever counts, and what failed may have been mended.
        """
        folder = self.compute.folder(spec.work_fingerprint)
        if folder.exists() and folder.of_today() and self.compute.poll(folder) in ALIVE:
            return folder
        if (attempt := folder.last_attempt()) and folder.exit_code(attempt.number) == 0:
            folder.undo(attempt.number)  # of an earlier time: what it wrote is not there any more
        (folder.path / CODE).unlink(missing_ok=True)
        folder.replace_spec(spec)
        write_call(folder, call)
        return folder

    def _follow(self, folder: JobFolder, call: Call[Any], before: int) -> None:
        begun = looked = observed = time.monotonic()
        first = len(call.shards) - len(call.left())
        while (state := self.compute.poll(folder)) is not JobState.SUCCEEDED:
            if state in (JobState.CANCELLED, JobState.PAUSED):
                raise JobFailed(
                    f"{folder.title}: the job {folder.fingerprint[:12]} was {state}. `neo resume"
                    f" {folder.fingerprint[:12]}` lifts that; finished files are kept."
                )
            if state in (JobState.NEW, JobState.STOPPED):
                self.compute.restart(folder)
            if state in (JobState.FAILED, JobState.LOST):
                self._again(folder, before)
            now = time.monotonic()
            if now - looked >= min(LOOK_SECONDS, (now - begun) / 10):  # a short job is looked at often
                looked, told = now, progress(folder)
                if len(told.done) == told.shards and not call.left():  # its tasks need nobody to end
                    if (attempt := folder.last_attempt()) is not None:  # none: nobody lived to note it
                        folder.settle(attempt.number)
                    return
                how = f", {len(told.failed)} failed" if told.failed else "" if told.started else f" ({state})"
                call.out.progress(
                    len(told.done), told.shards, f"files{how}, job {folder.fingerprint[:12]}", LOOK_SECONDS
                )
                if self.observe is not None and now - observed >= OBSERVE_SECONDS:
                    observed = now
                    self.observe(folder.fingerprint, told, 3600 * (len(told.done) - first) / (now - begun))
            time.sleep(WAIT_SECONDS)

    def _again(self, folder: JobFolder, before: int) -> None:
        """Start what is left once more, or say what failed."""
        attempt, told = folder.last_attempt(), progress(folder)
        if attempt and (refusal := folder.refused(attempt.number)):
            raise JobFailed(f"{folder.title}: the job {folder.fingerprint[:12]} refused to run: {refusal}")
        if (tried := folder.failures() - before) < self.settings.attempts:
            self.compute.restart(folder)
            return
        failures = "\n".join(told.failures()) or folder.log_tail()
        raise JobFailed(
            f"{folder.title}: {counted(len(told.failed) + len(told.unfinished), 'file')} of {told.shards} failed, in"
            f" {counted(tried, 'attempt')}; {len(told.done)} are done and kept:\n{failures}"
        )
