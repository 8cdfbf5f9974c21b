"""Jobs on this machine: torchrun, detached from whoever started it.

The wrapper shell is a session of its own, so Ctrl-C, a closed terminal or a killed Dagster run do not reach it; it
writes the exit code when torchrun ends. Every process of a job inherits ``NEO_JOB`` in its environment; that is how a
job is found by name, and how ranks that outlived their launcher (torchrun gives them sessions of their own) are ended.
On systems without /proc processes are read through psutil (``core/process.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from neo_assets.core.errors import MachineLacks
from neo_assets.core.frozen import CODE, LAUNCH
from neo_assets.core.jobs import COLLECTIVE, JobFolder, JobSpec, JobState
from neo_assets.core.process import alive, carrying, handle, start_ticks
from neo_assets.core.recipe.run import Run
from resources.compute.base import Compute

GRACE_SECONDS = 10.0
_WRAPPER = 'rc="$1"; shift; "$@"; code=$?; echo $code > "$rc.tmp" && mv "$rc.tmp" "$rc"'


class LocalCompute(Compute):
    name = "local"

    def launch_command(self, name: str, run: Run) -> str:
        return f"torchrun --standalone --nproc-per-node={run.ranks_per_node} -m {LAUNCH} spec.json"

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        if spec.nodes != 1:
            raise MachineLacks(
                f"{spec.title} asks for {spec.nodes} nodes; the local backend has one. Set runs.….nodes: 1, or another"
                " compute.backend"
            )
        code = folder.path / CODE
        environment = {
            **os.environ,
            "NEO_JOB": spec.work_fingerprint,
            "NEO_JOB_ATTEMPT": str(number),
            "OMP_NUM_THREADS": str(spec.threads_per_rank),
            "PYTHONPATH": os.pathsep.join(p for p in (str(code), os.environ.get("PYTHONPATH", "")) if p),
            "PYTHONUNBUFFERED": "1",
        }
        with folder.log_file.open("ab") as log:
            log.write(f"--- attempt {number}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            log.flush()
            process = subprocess.Popen(
                ["sh", "-c", _WRAPPER, "sh", str(folder.rc_file(number)), *command(spec, folder.path / "spec.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd=code,
            )
        return handle(process.pid)

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        for pid in _processes_of(fingerprint):
            if start_ticks(pid) is not None:
                return handle(pid)
        return None

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        living = alive(handle)
        return JobState.ELSEWHERE if living is None else JobState.RUNNING if living else None

    def kill(self, folder: JobFolder) -> None:
        for pid in _processes_of(folder.fingerprint):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        number = signal.SIGTERM
        while pids := _processes_of(fingerprint):
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            for pid in pids:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)


def command(spec: JobSpec, spec_file: Path) -> list[str]:
    """What is run on the machine: torchrun for programs that have ranks, plain Python for the others."""
    if spec.ranks_per_node == 1 and spec.program not in COLLECTIVE:
        return [sys.executable, "-m", LAUNCH, str(spec_file)]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={spec.ranks_per_node}",
        "--max-restarts=0",
    ]
    return [*torchrun, "-m", LAUNCH, str(spec_file)]


def _processes_of(fingerprint: str) -> list[int]:
    """Live processes on this machine that carry the job's name in their environment."""
    return carrying("NEO_JOB", fingerprint)


BACKEND = LocalCompute
