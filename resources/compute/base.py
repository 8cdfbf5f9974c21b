"""What every compute backend can do. The asset layer and the command line know only this."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from neo_assets.core.errors import MachineLacks, NeoError
from neo_assets.core.jobs import POLL_SECONDS, Attempt, JobFolder, JobSpec, JobState, Message, follow
from neo_assets.core.locks import held
from neo_assets.core.reach import bring_inputs
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.recipe.run import Run

FOLLOWERS = "followers"
"""File of a job's folder on which whoever follows it holds a shared lock; the kernel frees it when they die."""

STARTABLE = (JobState.NEW, JobState.FAILED, JobState.LOST, JobState.STOPPED)


class Compute(abc.ABC):
    """Starts jobs and tells how they are. One piece of work is one job: :meth:`submit` of a known fingerprint attaches.

    A backend implements four things: start an attempt under the scheduler-side name ``neo-‹work fingerprint›``, find
    one by that name (for a submitter that died between starting and recording), observe an attempt, and stop it.
    """

    name: str

    def __init__(self, store_root: Path, settings: Settings | None = None) -> None:
        self.root = store_root
        self.settings = settings or Settings.model_validate({"backend": "local", "workers": 1})

    # ------------------------------------------------ what a backend implements

    @abc.abstractmethod
    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        """Start attempt ``number`` detached from this process; returns the backend's handle for it."""

    def start_tasks(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        """As :meth:`start`, for a call over shards (``core/shard_tasks.py``): many tasks of their own, one name."""
        raise MachineLacks(
            f"{spec.title}: the backend '{self.name}' has no tasks; compute.data.engine names one that has"
        )

    @abc.abstractmethod
    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        """Handle of a live attempt with this name, started by anybody."""

    @abc.abstractmethod
    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        """QUEUED or RUNNING; None once the attempt is gone; ELSEWHERE where that cannot be told from this host."""

    def cancelled_outside(self, handle: dict[str, str | int]) -> bool:
        """Whether somebody ended an attempt with the scheduler's own tools: nobody should start it again unasked."""
        return False

    @abc.abstractmethod
    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None:
        """End every process of the job and wait until they are gone."""

    def launch_command(self, name: str, run: Run) -> str:
        """How a training run's job is started, for people to read in a plan."""
        return f"neo demo, or the asset pretraining_{name} in the web UI, starts it on {self.name}"

    # ------------------------------------------------ what is the same for all

    def folder(self, fingerprint: str) -> JobFolder:
        return JobFolder(self.root / "jobs" / fingerprint)

    def submit(self, spec: JobSpec) -> JobFolder:
        """The job for this work: the one that runs or has succeeded, or a new attempt."""
        folder = self.folder(spec.work_fingerprint)
        folder.write_spec(spec)
        with self._lock(folder):
            if self.poll(folder) in STARTABLE:
                self._next_attempt(folder)
        return folder

    def poll(self, folder: JobFolder) -> JobState:
        """How a job is. It is asked through the backend that started it, whichever this recipe names now."""
        attempt = folder.last_attempt()
        if attempt is not None and attempt.backend != self.name:
            return self._sibling(attempt.backend).poll(folder)
        held = JobState.CANCELLED if folder.cancelled else JobState.PAUSED if folder.paused else None
        if attempt is None:
            return self._by_name(folder) or held or JobState.NEW
        if folder.exit_code(attempt.number) is None and (live := self.observe(attempt.handle)):
            return live
        if folder.spec().tasks:
            folder.settle(attempt.number)
        code = folder.exit_code(attempt.number)  # it may have ended between the two looks
        if code == 0 and not folder.stopped(attempt.number):
            return JobState.SUCCEEDED
        if held:
            return held
        if live := self._by_name(folder):
            return live
        if self.cancelled_outside(attempt.handle):
            with contextlib.suppress(PermissionError):  # somebody who may only read
                folder.mark("cancelled")
            return JobState.CANCELLED
        if folder.stopped(attempt.number):
            return JobState.STOPPED
        return JobState.LOST if code is None else JobState.FAILED

    def _sibling(self, name: str) -> Compute:
        if name == self.name:
            return self
        from resources.compute import backend_named

        return backend_named(name, self.settings, self.root)

    def _by_name(self, folder: JobFolder) -> JobState | None:
        handle = self.look_up(folder.fingerprint)
        return (self.observe(handle) or JobState.RUNNING) if handle else None

    def follow(self, folder: JobFolder) -> Iterator[Message]:
        """See :func:`neo_assets.core.jobs.follow`. While it is followed, the job is :meth:`attended`."""

        with self.attending(folder):
            yield from follow(folder, lambda: self.poll(folder), lambda: self.restart(folder))

    @contextlib.contextmanager
    def attending(self, folder: JobFolder) -> Iterator[None]:
        """For who follows a job: while this is open, others see that somebody does."""
        with (folder.path / FOLLOWERS).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield

    def restart(self, folder: JobFolder) -> None:
        """Start another attempt of a job that ended without success; of one that lives, nothing."""
        with self._lock(folder):
            if self.poll(folder) in STARTABLE:
                self._next_attempt(folder)

    @staticmethod
    def attended(folder: JobFolder) -> bool:
        """Whether some process follows the job now."""
        return held(folder.path / FOLLOWERS, fcntl.LOCK_EX)

    def cancel(self, folder: JobFolder) -> None:
        """Stop the job and keep it stopped until :meth:`resume`."""
        if self.poll(folder) is JobState.ELSEWHERE:
            raise NeoError(
                self._where(folder) + "cancel it there, or pause it from here: it looks for that in its folder"
            )
        folder.mark("cancelled")
        with self._lock(folder):
            self._stop_last(folder)

    def kill(self, folder: JobFolder) -> None:
        """End a job as a failing machine would, without a warning where the backend can do that; whoever follows it
        starts it again.
        """
        with self._lock(folder):
            self._stop_last(folder)

    def pause(self, folder: JobFolder, wait_s: float = 600.0) -> JobState:
        """Have the job save and end, and keep it stopped until :meth:`resume`. Returns its state when it has ended, or
        after ``wait_s``; a job that has ended is left alone.
        """
        if (state := self.poll(folder)) not in (
            JobState.RUNNING,
            JobState.QUEUED,
            JobState.STOPPED,
            JobState.ELSEWHERE,
        ):
            return state
        folder.mark("paused")
        folder.ask_to_stop("pause")
        deadline = time.monotonic() + wait_s
        while (state := self.poll(folder)) in (JobState.RUNNING, JobState.ELSEWHERE) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if state is JobState.QUEUED:
            with self._lock(folder):
                self._stop_last(folder)
        return self.poll(folder)

    def resume(self, folder: JobFolder, *, lost: bool = False) -> None:
        """Lift a cancellation or a pause and start a new attempt. ``lost`` is somebody's word that an attempt on
        another host is no more.
        """
        with self._lock(folder):
            if (before := self.poll(folder)) is JobState.ELSEWHERE:
                if not lost:
                    raise NeoError(
                        self._where(folder)
                        + "when you know that nothing of it runs there any more: neo resume --lost "
                        + folder.fingerprint[:12]
                    )
                folder.declare_lost()
            folder.clear_marks()
            # What had ended is started again though its scheduler may show it for some seconds more; ended with the
            # scheduler's own tools, it is still cancelled to it.
            ended = (JobState.PAUSED, JobState.CANCELLED)
            if before in ended or self.poll(folder) in (*STARTABLE, JobState.CANCELLED):
                folder.clear_marks()
                self._next_attempt(folder)
            else:
                folder.withdraw_stop()

    def find(self, prefix: str) -> JobFolder:
        """The one job whose fingerprint starts with ``prefix``. Raises NeoError when there is none,
        or more than one.
        """
        found = [p.parent for p in (self.root / "jobs").glob(f"{prefix}*/spec.json")]
        if len(found) != 1:
            raise NeoError(f"{len(found)} jobs match '{prefix}'; `neo jobs --all` lists them")
        return JobFolder(found[0])

    def _next_attempt(self, folder: JobFolder) -> None:
        attempt = folder.last_attempt()
        number = attempt.number + 1 if attempt else 1
        # A job whose launcher was killed may still have ranks alive: two writers must never meet.
        self._stop_last(folder)
        folder.withdraw_stop()
        bring_inputs(self.root, folder)
        folder.freeze()
        backend, spec = self, folder.spec()
        if spec.tasks:  # they go where the recipe has them done now, or where they were
            engine = self.settings.data.engine
            backend = self._sibling(engine if engine != "local" or attempt is None else attempt.backend)
        started = (backend.start_tasks if spec.tasks else self.start)(folder, spec, number)
        folder.record_attempt(Attempt(number=number, backend=backend.name, handle=started, started_at=time.time()))

    def _stop_last(self, folder: JobFolder) -> None:
        attempt = folder.last_attempt()
        asked = self if attempt is None or attempt.backend == self.name else self._sibling(attempt.backend)
        asked.stop(folder.fingerprint, attempt.handle if attempt else None)

    @staticmethod
    def _where(folder: JobFolder) -> str:
        attempt = folder.last_attempt()
        host = attempt.handle.get("host", "another host") if attempt else "another host"
        return (
            f"{folder.title}: job {folder.fingerprint[:12]} was started on {host}, and how it is cannot be told from"
            " here; "
        )

    @contextlib.contextmanager
    def _lock(self, folder: JobFolder) -> Iterator[None]:
        with (folder.path / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
