"""A job for the tests: appends a line for every start, works until told to end, fails when told to fail, saves and ends when asked to stop."""

import json
import os
import sys
import time
from pathlib import Path

from neo_assets.core.jobs import STOPPED, JobFolder, JobSpec, Reporter
from training.control import StopRequests

if __name__ == "__main__":
    spec_file = Path(sys.argv[1])
    spec = JobSpec.model_validate_json(spec_file.read_text())
    folder, out = JobFolder(spec_file.parent), Path(spec.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "starts.txt").open("a") as stream:
        stream.write("start\n")
    reporter = Reporter(spec_file.parent)
    requests = StopRequests(folder, 0)
    reporter.send("note", starts=len((out / "starts.txt").read_text().splitlines()))
    for _ in range(2400):
        if requests.here():
            reporter.send("stopped", reason=requests.reason, step=0)
            folder.mark_stopped(int(os.environ["NEO_JOB_ATTEMPT"]), str(requests.reason))
            sys.exit(STOPPED)
        if (out / "fail").exists():
            (out / "fail").unlink()
            print("told to fail", flush=True)
            sys.exit(3)
        if (out / "leave").exists():
            (out / "leave").unlink()
            sys.exit(0)  # without having said that it is done
        if (out / "end").exists():
            reporter.send("done", result=json.loads((out / "end").read_text()))
            sys.exit(0)
        time.sleep(0.05)
    sys.exit(4)
