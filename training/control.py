"""Being asked to stop, and noticing a hang."""

from __future__ import annotations

import faulthandler
import signal
import time
from pathlib import Path

from neo_assets.core.jobs import JobFolder

LOOK_SECONDS = 0.5
"""How often the job's folder is looked at for a request."""


class StopRequests:
    """Whether somebody wants this run to save and end: a signal to any rank, or a file in the job's folder (rank 0
    looks).
    """

    def __init__(self, folder: JobFolder, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.reason: str | None = None
        self._looked = 0.0
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        self.reason = signal.Signals(number).name

    def here(self) -> bool:
        """Whether this rank knows of a request; the ranks agree by a sum that the step does anyway."""
        if self.rank == 0 and self.reason is None and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self.reason = self.folder.asked_to_stop()
        return self.reason is not None


class HangWatch:
    """Ends this rank, with the stacks of all its threads in a file, when nothing was heard of it for ``seconds``.

    Python's own faulthandler does it from a thread that needs no interpreter lock, so a rank that hangs in a collective
    writes, too.
    """

    def __init__(self, folder: Path, rank: int, seconds: float) -> None:
        folder.mkdir(exist_ok=True)
        self.file, self.seconds = folder / f"rank{rank}.txt", seconds
        self.stream = self.file.open("a")
        self.alive()

    def alive(self) -> None:
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=self.stream)

    def close(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self.stream.close()
        if self.file.stat().st_size == 0:
            self.file.unlink()
