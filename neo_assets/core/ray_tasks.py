"""The tasks of a call over shards on a Ray cluster: a Ray job that has each of them run by a node, again where a node
dies.

Ray decides where a task runs and starts it again when its node is gone; the task itself is a process of its own, as on
Slurm, that looks for itself what is left to do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from neo_assets.core.errors import NeoError
from neo_assets.core.frozen import LAUNCH
from neo_assets.core.jobs import STOPPED
from neo_assets.core.shard_job import TASK

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
PR_SET_PDEATHSIG = 1


def bytes_of(memory: str) -> int:
    """Bytes of an amount as Slurm has it: 500 (megabytes), 4G, 4GB. Raises NeoError."""
    number, unit = memory.rstrip("Bbi"), "M"
    if number and number[-1].upper() in UNITS:
        number, unit = number[:-1], number[-1].upper()
    try:
        return int(float(number) * UNITS[unit])
    except ValueError:
        raise NeoError(f"compute.data.memory: {memory!r} is no amount of memory, such as 4G") from None


def run_task(number: int, command: list[str], log: str, environment: dict[str, str]) -> int:
    """One task on the node that Ray chose, until nothing is left for another start. Returns its exit code."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    mine = {**os.environ, **environment, TASK: str(number), "NEO_NODE": node}
    while True:
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.write(f"--- task {number}, on {os.uname().nodename} ({node[:8]})\n")
            stream.flush()
            done = subprocess.run(command, env=mine, stdout=stream, stderr=stream, check=False, preexec_fn=_end_with_us)
        if done.returncode != STOPPED or (Path(log).parents[2] / "stop").is_file():
            return done.returncode


def _end_with_us() -> None:
    """Of a task's process: it dies with the worker that started it, so that no two of a task run."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """``python -m neo_assets.core.ray_tasks ‹job folder› ‹attempt› ‹tasks› ‹cpus› ‹memory› NAME=value …``"""
    import ray

    folder, attempt, tasks, cpus, memory = Path(sys.argv[1]), *map(int, sys.argv[2:6])
    environment = dict(one.split("=", 1) for one in sys.argv[6:])
    ray.init(log_to_driver=False)
    on_a_node = ray.remote(run_task).options(num_cpus=cpus, memory=memory, max_retries=-1)
    command = [sys.executable, "-m", LAUNCH, str(folder / "spec.json")]
    place = folder / "attempts" / f"{attempt:04d}"
    waiting = [on_a_node.remote(i, command, str(place / f"log-{i}.txt"), environment) for i in range(tasks)]
    ended = 0
    while waiting:
        done, waiting = ray.wait(waiting)
        ended += len(done)
        print(f"{ended} of {tasks} tasks ended, exit code {ray.get(done[0])}", flush=True)


if __name__ == "__main__":
    main()
