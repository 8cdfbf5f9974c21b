"""A job for the tests: appends a line for every start, works until told to end, fails when told to fail."""

import json
import sys
import time
from pathlib import Path

from neo_assets.core.jobs import JobSpec, Reporter

if __name__ == "__main__":
    spec_file = Path(sys.argv[1])
    spec = JobSpec.model_validate_json(spec_file.read_text())
    out = Path(spec.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "starts.txt").open("a") as stream:
        stream.write("start\n")
    reporter = Reporter(spec_file.parent)
    reporter.send("note", starts=len((out / "starts.txt").read_text().splitlines()))
    for _ in range(600):
        if (out / "fail").exists():
            (out / "fail").unlink()
            print("told to fail", flush=True)
            sys.exit(3)
        if (out / "end").exists():
            reporter.send("done", result=json.loads((out / "end").read_text()))
            sys.exit(0)
        time.sleep(0.05)
    sys.exit(4)
