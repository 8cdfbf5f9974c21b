"""Ending on request for programs that keep each result as soon as it is there. A module of its own, so that it is no
part of what a training run is made from.
"""

from __future__ import annotations

import os
import threading
import time

from neo_assets.core.jobs import STOPPED, JobFolder, Reporter
from training.control import LOOK_SECONDS, StopRequests


def leave_when_asked(folder: JobFolder) -> None:
    """From now on a request to stop ends this process at once, as one that is to be started again."""
    requests, reporter = StopRequests(folder, 0), Reporter(folder.path)

    def watch() -> None:
        while not requests.here():
            time.sleep(LOOK_SECONDS)
        reason = str(requests.reason)
        reporter.send("stopped", reason=reason)
        folder.mark_stopped(reporter.attempt, reason)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()
