"""A job for the tests: appends a line for every start, works until told to end, fails when told to fail, saves and ends
when asked to stop.
"""

import json
import os
import time
from pathlib import Path

from neo_assets.core.jobs import STOPPED, Reporter, RunningJob
from training.control import StopRequests


def main(job: RunningJob) -> int:
    folder, out = job.folder, Path(job.spec.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "starts.txt").open("a") as stream:
        stream.write("start\n")
    reporter = Reporter(folder.path)
    requests = StopRequests(folder, 0)
    reporter.send("note", starts=len((out / "starts.txt").read_text().splitlines()))
    for _ in range(2400):
        if requests.here():
            if (
                os.environ.get("RANK", "0") == "0"
            ):  # as in training: another's mark could outlive the first one's restart
                reporter.send("stopped", reason=requests.reason, step=0)
                folder.mark_stopped(int(os.environ["NEO_JOB_ATTEMPT"]), str(requests.reason))
            return STOPPED
        if (out / "fail").exists():
            (out / "fail").unlink()
            print("told to fail", flush=True)
            return 3
        if (out / "leave").exists():
            (out / "leave").unlink()
            return 0  # without having said that it is done
        if (out / "end").exists():
            reporter.send("done", result=json.loads((out / "end").read_text()))
            return 0
        time.sleep(0.05)
    return 4
