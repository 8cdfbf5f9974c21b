"""Jobs: one piece of work, one job, whatever dies.

A job lives in a folder named by its *work fingerprint*, the hash of what it would make:

    jobs/‹work fingerprint›/spec.json          its whole input; written once jobs/‹work fingerprint›/code/
    the code it was asked with; it runs from there jobs/‹work fingerprint›/attempts/0001.json who runs it, since when
    (the backend's own handle inside) jobs/‹work fingerprint›/attempts/0001.rc   exit code, written by the job's wrapper
    when it ends jobs/‹work fingerprint›/attempts/0001.stopped  it saved and ended because it was asked to jobs/‹work
    fingerprint›/attempts/0001.refused  it found other code or libraries than it was asked with, and did nothing
    jobs/‹work fingerprint›/log.txt            what it printed, all attempts jobs/‹work fingerprint›/messages.jsonl
    what it reports: one JSON object a line, appended, never truncated jobs/‹work fingerprint›/stop               asks
    the running attempt to save and end; holds the reason jobs/‹work fingerprint›/cancelled, paused  somebody wants it
    stopped until further notice jobs/‹work fingerprint›/stacks/            what every rank was doing when it hung

Paths in a specification are relative to the store, so that a store may be moved, or mounted elsewhere on a compute
node; only folders outside the store are absolute. Nothing here knows how a job is started; that is
``resources/compute``. Everything is read from the folder, so any process can list, follow and judge jobs, and a
supervisor that died leaves nothing behind that its successor needs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neo_assets.core import records
from neo_assets.core.errors import JobFailed
from neo_assets.core.frozen import CODE, COPIES, Claimed, freeze, freeze_shared
from neo_assets.core.shards import missing
from neo_assets.core.trainings import PROGRAMS

SPEC_VERSION = 2
TARGETS = "targets.json"
"""File of a job over shards: what each shard's work writes last, relative to the store."""
POLL_SECONDS = 0.5
DECLARED_LOST = 137
"""Exit code that stands for an attempt which is known to be no more: as if it had been killed."""
STOPPED = 75
"""Exit code of a job that saved and ended because it was asked to (EX_TEMPFAIL: run me again)."""


class JobState(StrEnum):
    NEW = "new"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"  # no exit code and no process: killed, or the machine went down
    CANCELLED = "cancelled"
    PAUSED = "paused"
    STOPPED = "stopped"  # saved and ended on request (preemption, time limit, shutdown); to be started again
    ELSEWHERE = "elsewhere"  # was started on another host, which cannot be asked from here; never taken for lost


ALIVE = (JobState.QUEUED, JobState.RUNNING, JobState.ELSEWHERE)
"""States of a job that goes on by itself, as far as can be told."""

COLLECTIVE = tuple(PROGRAMS.values())
"""Programs whose ranks form a process group: they are started by torchrun even where there is one."""


class JobSpec(BaseModel):
    """Everything a job needs to know: no recipe, no store look-up, no environment is needed to read it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = SPEC_VERSION
    work_fingerprint: str
    title: str  # for people: "pretraining/main"
    program: str  # module that is run, e.g. "training.pretrain"
    code: dict[str, str]  # digest of every module of ours that the program can reach, and of every file these read
    libraries: dict[str, str]  # versions of the distributions that these import, and Python's
    nodes: int = 1
    ranks_per_node: int = 1
    threads_per_rank: int = 1
    max_attempts: int = 1
    config: dict[str, object]
    inputs: dict[str, str]  # name -> folder, relative to the store where it is in it
    out: str  # folder the job writes into, likewise
    tasks: bool = False  # whether it is a call over shards (shard_job.py): tasks that need not meet, and no ranks
    makes: list[str] = Field(
        default_factory=list,
        description="artifacts (or files) of the store that it is for; when all are there, it is gathered",
    )

    def at(self, root: Path) -> JobSpec:
        """With the paths as they are where the store lies at ``root``."""
        return self.model_copy(
            update={"inputs": {n: str(root / p) for n, p in self.inputs.items()}, "out": str(root / self.out)}
        )


class Attempt(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    backend: str
    handle: dict[str, str | int]
    started_at: float


class Message(BaseModel):
    """One line of ``messages.jsonl``."""

    model_config = ConfigDict(extra="forbid")

    event: str  # progress | checkpoint | note | done
    at: float
    attempt: int
    data: dict[str, object]


class JobFolder:
    """Reads and writes one job's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spec: JobSpec | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobFolder) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def fingerprint(self) -> str:
        return self.path.name

    @property
    def root(self) -> Path:
        """The store that the job is of."""
        return self.path.parents[1]

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def messages_file(self) -> Path:
        return self.path / "messages.jsonl"

    def exists(self) -> bool:
        return (self.path / "spec.json").is_file()

    def write_spec(self, spec: JobSpec) -> None:
        """What is to be run, as it is asked now; once a copy of its code is there, it stays as it was asked then."""
        if self.exists() and ((self.path / CODE).is_dir() or self.last_attempt()):
            return
        self.replace_spec(spec)

    def replace_spec(self, spec: JobSpec) -> None:
        """Of a job of which nothing lives: what is to be run, as it is asked now."""
        (self.path / "attempts").mkdir(parents=True, exist_ok=True)
        records.write_text(self.path / "spec.json", spec.model_dump_json(indent=1))
        self._spec = None

    def spec(self) -> JobSpec:
        """As it was written: paths are relative to the store. Raises ValidationError for one of an older form."""
        if self._spec is None:
            self._spec = JobSpec.model_validate_json((self.path / "spec.json").read_text(encoding="utf-8"))
        return self._spec

    @property
    def title(self) -> str:
        return self.spec().title

    def of_today(self) -> bool:
        """Whether the specification has the form that this version writes and reads."""
        try:
            return self.spec().version == SPEC_VERSION
        except ValidationError:
            return False

    def freeze(self) -> None:
        """Have the folder hold the code that the job was asked with. Raises ChangedCode.

        Jobs over shards are many, and share one copy: what is compiled from it is compiled once.
        """
        if self.spec().tasks:
            freeze_shared(self.spec().code, self.path / CODE, self.root / COPIES)
        else:
            freeze(self.spec().code, self.path / CODE)

    # ------------------------------------------------ attempts

    def attempts(self) -> list[Attempt]:
        return [
            Attempt.model_validate_json(p.read_text(encoding="utf-8"))
            for p in sorted((self.path / "attempts").glob("*.json"))
        ]

    def last_attempt(self) -> Attempt | None:
        found = self.attempts()
        return found[-1] if found else None

    def record_attempt(self, attempt: Attempt) -> None:
        records.write_text(self.path / "attempts" / f"{attempt.number:04d}.json", attempt.model_dump_json())

    def rc_file(self, number: int) -> Path:
        return self.path / "attempts" / f"{number:04d}.rc"

    def exit_code(self, number: int) -> int | None:
        try:
            return int(self.rc_file(number).read_text(encoding="utf-8").strip())
        except (FileNotFoundError, ValueError):
            return None

    def targets(self) -> list[Path]:
        """Of a job over shards: the file that each shard's work writes last."""
        return [self.root / name for name in json.loads((self.path / TARGETS).read_text(encoding="utf-8"))]

    def settle(self, number: int) -> None:
        """Note how an attempt of a job over shards ended, of which nothing runs any more: by which files are there."""
        if self.exit_code(number) is None:
            records.write_text(self.rc_file(number), str(int(bool(missing(self.targets())))))

    def undo(self, number: int) -> None:
        """Of a job over shards: its attempt succeeded, and what it wrote has gone since."""
        records.write_text(self.rc_file(number), "1")

    def mark_stopped(self, number: int, reason: str) -> None:
        """Of the job itself: this attempt ends because it was asked to, and has saved."""
        records.write_text(self.path / "attempts" / f"{number:04d}.stopped", reason)

    def stopped(self, number: int) -> bool:
        return (self.path / "attempts" / f"{number:04d}.stopped").is_file()

    def mark_refused(self, number: int, reason: str) -> None:
        """Of the job itself: this attempt found other code or libraries than it was asked with."""
        records.write_text(self.path / "attempts" / f"{number:04d}.refused", reason)

    def refused(self, number: int) -> str | None:
        """Why this attempt did nothing, where that is so."""
        file = self.path / "attempts" / f"{number:04d}.refused"
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def declare_lost(self) -> None:
        """Somebody knows that the last attempt is no more, though it has left no exit code."""
        if (attempt := self.last_attempt()) and self.exit_code(attempt.number) is None:
            records.write_text(self.rc_file(attempt.number), str(DECLARED_LOST))

    def failures(self) -> int:
        """Attempts that ended by a failure of the job's own: not asked to stop, and not succeeded."""
        return sum(not self.stopped(a.number) and self.exit_code(a.number) != 0 for a in self.attempts())

    # ------------------------------------------------ stopping

    def ask_to_stop(self, reason: str) -> None:
        records.write_text(self.path / "stop", reason)

    def asked_to_stop(self) -> str | None:
        try:
            return (self.path / "stop").read_text(encoding="utf-8").strip() or "asked"
        except FileNotFoundError:
            return None

    @property
    def cancelled(self) -> bool:
        return (self.path / "cancelled").is_file()

    @property
    def paused(self) -> bool:
        return (self.path / "paused").is_file()

    def mark(self, what: str) -> None:
        """``cancelled`` or ``paused``."""
        (self.path / what).touch()

    def clear_marks(self) -> None:
        """Lift a cancellation and a pause. A request to stop stays: what is ending may not have read it yet."""
        for name in ("cancelled", "paused"):
            (self.path / name).unlink(missing_ok=True)

    def withdraw_stop(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)

    # ------------------------------------------------ messages

    def messages(self, offset: int = 0) -> tuple[list[Message], int]:
        """Whole lines from byte ``offset`` on, and the offset after them. A torn last line is left
        for the next call.
        """
        if not self.messages_file.is_file():
            return [], offset
        with self.messages_file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
        end = data.rfind(b"\n") + 1
        found = []
        for line in data[:end].splitlines():
            try:
                found.append(Message.model_validate_json(line))
            except ValueError:
                continue  # a line torn by a kill, then continued by the next attempt's first write
        return found, offset + end

    def log_tail(self, lines: int = 15) -> str:
        """End of the log; of a torchrun job, the end of its ranks' own errors: the launcher's
        epilogue names no reason.
        """
        if not self.log_file.is_file():
            return "(no output)"
        text = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        ranks = [line for line in text if line.startswith("[rank")]
        hung = sorted(p.name for p in (self.path / "stacks").glob("*.txt") if p.stat().st_size)
        note = (
            [
                f"{', '.join(hung)} in {self.path / 'stacks'}: what a rank was doing when nothing was heard of it for"
                " too long"
            ]
            if hung
            else []
        )
        return "\n".join([*(ranks or text)[-lines:], *note])


@dataclass(frozen=True)
class RunningJob:
    """What a job's program is given: its specification with paths as they are here, its folder, and what it was found
    to run with.
    """

    spec: JobSpec
    folder: JobFolder
    ran: Claimed


class Reporter:
    """A job's side of ``messages.jsonl``: each message is one ``write`` of one line on a descriptor opened for
    appending.
    """

    def __init__(self, folder: Path | None) -> None:
        self.attempt = int(os.environ.get("NEO_JOB_ATTEMPT", "0"))
        self._descriptor = (
            None
            if folder is None
            else os.open(folder / "messages.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        )
        if self._descriptor is not None and os.lseek(self._descriptor, 0, os.SEEK_END) > 0:
            os.write(self._descriptor, b"\n")  # ends a line that a killed attempt may have left torn

    def send(self, event: str, **data: object) -> None:
        if self._descriptor is not None:
            message = Message(event=event, at=time.time(), attempt=self.attempt, data=data)
            os.write(self._descriptor, message.model_dump_json().encode() + b"\n")


def job_folders(root: Path) -> Iterator[JobFolder]:
    """All jobs below a store whose specifications can be read, oldest first."""
    specs = sorted((root / "jobs").glob("*/spec.json"), key=lambda p: p.stat().st_mtime)
    yield from (folder for p in specs if (folder := JobFolder(p.parent)).of_today())


def follow(
    folder: JobFolder, poll: Callable[[], JobState], restart: Callable[[], None], *, offset: int = 0
) -> Iterator[Message]:
    """Messages of a job until it has succeeded; its own failures are tried again up to the spec's ``max_attempts``,
    requested stops always.

    Whoever calls this may die at any time; the next caller starts from offset 0 and handles messages idempotently.

    Raises:
        JobFailed: after the last attempt, or when the job was cancelled; holds the end of its log.
    """
    spec = folder.spec()
    while True:
        state = poll()
        messages, offset = folder.messages(offset)
        yield from messages
        if state is JobState.SUCCEEDED:
            return
        if state in (JobState.CANCELLED, JobState.PAUSED):
            raise JobFailed(
                f"{spec.title}: the job {folder.fingerprint[:12]} was {state}. `neo resume {folder.fingerprint[:12]}`"
                " lifts that; it goes on from where it saved last."
            )
        if state in (
            JobState.NEW,
            JobState.STOPPED,
        ):  # new: found by its name alone, since nobody lived to note it, and ended by now
            restart()
        if state in (JobState.FAILED, JobState.LOST):
            attempt = folder.last_attempt()
            if attempt and (refusal := folder.refused(attempt.number)):
                raise JobFailed(f"{spec.title}: the job {folder.fingerprint[:12]} refused to run: {refusal}")
            failures = folder.failures()
            if failures >= spec.max_attempts:
                raise JobFailed(
                    f"{spec.title}: the job {folder.fingerprint[:12]} {state} after {failures} attempt(s). End of"
                    f" {folder.log_file}:\n{folder.log_tail()}"
                )
            restart()
        time.sleep(POLL_SECONDS)
