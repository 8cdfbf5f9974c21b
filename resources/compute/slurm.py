"""Jobs on Slurm, from any machine that has its commands and sees the store's file system.

A job's Slurm name is ``neo-‹work fingerprint›``: a submitter that died between `sbatch` and noting the id is found
again by it. The batch script starts one process a rank with `srun`, and is what makes a job outlive its node, its time
limit and its preemption:

* the time limit's warning (``--signal=B:USR1``), and preemption where the site sends it, become the ``stop`` file that
  the program looks for; preemption's SIGTERM reaches the ranks by itself;
* a program that saved and ended on request is put back into the queue under the same job id; Slurm does the same itself
  after a node failure, where ``--requeue`` is given;
* exit code 0 alone is no success (`srun` returns 0 when its node dies): the program must have reported ``done``.

Slurm's accounting database is not needed. What decides is in the job's folder; Slurm is asked only whether the job is
still there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from neo_assets.core import records
from neo_assets.core.errors import MachineLacks, NeoError
from neo_assets.core.frozen import CODE, LAUNCH
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.recipe.run import Run
from neo_assets.core.shard_job import plan
from resources.compute.base import Compute
from resources.compute.slurm_tasks import tasks_options, tasks_script

QUEUED = {
    "PENDING",
    "CONFIGURING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
    "RESV_DEL_HOLD",
}
GONE = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "REVOKED",
}
UNREACHABLE = "Unable to contact slurm controller"
PATIENCE_SECONDS = 600.0
"""How long a controller that does not answer is asked again before a submission gives up."""

STOP_SECONDS = 60.0
ASK_SECONDS = 15.0
"""How often `squeue` is asked, at most, for all followed jobs together."""

SCRIPT = """#!/bin/bash
# Attempt {number} of {title}; starts again at this line when it is put back into the queue.
{setup}
folder={folder}
stopped="$folder/attempts/{number:04d}.stopped"
rm -f "$stopped" {rc}
[ -e "$folder/paused" ] || rm -f "$folder/stop"
echo "--- attempt {number}, start $(( ${{SLURM_RESTART_COUNT:-0}} + 1 )), $(date '+%Y-%m-%d %H:%M:%S'), Slurm job $SLURM_JOB_ID on $SLURM_JOB_NODELIST"
export NEO_JOB={fingerprint} NEO_JOB_ATTEMPT={number} OMP_NUM_THREADS={threads} PYTHONUNBUFFERED=1 PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol --oneliner show node "$first" | grep -o ' NodeAddr=[^ ]*' | cut -d= -f2)  # a name that only Slurm knows, resolves nowhere
[ "$SLURM_JOB_NUM_NODES" = 1 ] && address=127.0.0.1
export MASTER_ADDR=${{address:-$first}} MASTER_PORT=$(( 20000 + SLURM_JOB_ID % 20000 ))
trap 'echo "time limit or preemption" > "$folder/stop"' USR1
trap 'echo "SIGTERM" > "$folder/stop"' TERM
srun --export=ALL --kill-on-bad-exit=1 --ntasks={ranks} bash -c 'export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID; exec "$@"' rank {command} &
step=$!
while kill -0 $step 2>/dev/null; do wait $step; code=$?; done
wait $step; code=$?
if [ -e "$stopped" ] && [ ! -e "$folder/paused" ] && [ ! -e "$folder/cancelled" ]; then
  # A job that somebody cancels is not running any more, and must not come back; one at the end of its grace is put back by Slurm itself.
  [ "$(squeue --noheader --jobs=$SLURM_JOB_ID --format=%T)" = RUNNING ] || {{ sleep 3600; exit $code; }}
  echo "--- saved ($(cat "$stopped")); back into the queue"
  # What is put back has not ended, so its exit code is not noted: Slurm ends the sleep, and this script with it.
  scontrol requeue $SLURM_JOB_ID && {{ sleep 3600; exit $code; }}
fi
if [ $code = 0 ] && ! grep -q '"event":"done"' "$folder/messages.jsonl"; then
  echo "--- the program ended without saying that it was done"; code={interrupted}
fi
echo $code > {rc}.tmp && mv {rc}.tmp {rc}
exit $code
"""  # noqa: E501
INTERRUPTED = 70
"""Exit code of a job whose program ended without an error and without having finished."""


class _NoAnswer(Exception):
    """The controller does not answer."""


class _States:
    """What Slurm last said of every job that this process follows: one question for all of them, at most every
    :data:`ASK_SECONDS`.

    A controller of a large site serves thousands of users. What is heard late is only that a job has started, or
    vanished: how a program ended is in its job's folder, which is looked at all the time. A controller that does not
    answer changes nothing: what ran, runs on.
    """

    def __init__(self) -> None:
        self.asked_at = -ASK_SECONDS
        self.states: dict[str, str | None] = {}
        self.lock = threading.Lock()

    def of(self, job: str, ask: Callable[[list[str]], dict[str, str] | None]) -> str | None:
        """A job's state; None where Slurm does not know it any more."""
        with self.lock:
            if job not in self.states or time.monotonic() - self.asked_at >= ASK_SECONDS:
                known = [j for j, state in self.states.items() if state is not None and state not in GONE and j != job]
                answer = ask([job, *known])
                self.asked_at = time.monotonic()
                self.states |= {j: "RUNNING" if answer is None else answer.get(j) for j in (job, *known)}
            return self.states[job]

    def forget(self) -> None:
        self.asked_at = -ASK_SECONDS


class SlurmCompute(Compute):
    name = "slurm"
    _states = _States()

    def launch_command(self, name: str, run: Run) -> str:
        settings = self.settings
        options = [
            f"--nodes={run.nodes}",
            f"--ntasks-per-node={run.ranks_per_node}",
            f"--cpus-per-task={run.threads_per_rank}",
            "--requeue",
            f"--signal=B:USR1@{settings.warn_s}",
        ]
        given = {
            "partition": settings.partition,
            "account": settings.account,
            "time": settings.time_limit,
            "mem": settings.memory,
            "gpus-per-node": settings.gpus_per_node,
        }
        options += [f"--{flag}={value}" for flag, value in given.items() if value is not None]
        return f"sbatch {' '.join(options)} --wrap 'srun python -m {LAUNCH} spec.json'"

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        script = folder.path / f"slurm-{number:04d}.sh"
        records.write_text(script, self.script(folder, spec, number))
        answer = self._ask(["sbatch", "--parsable", *self.options(folder, spec), str(script)])
        return {"job": answer.split(";")[0].strip()}

    def start_tasks(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        script = folder.path / f"slurm-{number:04d}.sh"
        tasks = -(-plan(folder, number, self._most_tasks() * self.settings.data.cpus) // self.settings.data.cpus)
        records.write_text(script, tasks_script(folder, spec, number, self.settings))
        options = tasks_options(folder, spec, number, tasks, self.settings)
        answer = self._ask(
            ["sbatch", "--parsable", f"--job-name={job_name(spec.work_fingerprint)}", *options, str(script)]
        )
        return {"job": answer.split(";")[0].strip(), "tasks": tasks}

    def _most_tasks(self) -> int:
        """As many as the recipe allows and one array can hold here."""
        told = re.search(r"MaxArraySize\s*=\s*(\d+)", self._ask(["scontrol", "show", "config"]))
        return min(self.settings.data.tasks, int(told[1])) if told else self.settings.data.tasks

    def options(self, folder: JobFolder, spec: JobSpec) -> list[str]:
        """Options of `sbatch` for a job."""
        settings = self.settings
        out = [
            f"--job-name={job_name(spec.work_fingerprint)}",
            f"--comment={spec.title}",
            f"--nodes={spec.nodes}",
            f"--ntasks-per-node={spec.ranks_per_node}",
            f"--cpus-per-task={spec.threads_per_rank}",
            f"--output={folder.log_file}",
            "--open-mode=append",
            "--requeue",
            f"--signal=B:USR1@{settings.warn_s}",
            f"--chdir={folder.path / CODE}",
        ]
        given = {
            "partition": settings.partition,
            "account": settings.account,
            "time": settings.time_limit,
            "mem": settings.memory,
            "gpus-per-node": settings.gpus_per_node,
        }
        return [
            *out,
            *(f"--{name}={value}" for name, value in given.items() if value is not None),
            *settings.sbatch_options,
        ]

    def script(self, folder: JobFolder, spec: JobSpec, number: int) -> str:
        """The batch script of one attempt."""
        return SCRIPT.format(
            number=number,
            title=spec.title,
            setup="\n".join(self.settings.setup),
            folder=shlex.quote(str(folder.path)),
            fingerprint=spec.work_fingerprint,
            threads=spec.threads_per_rank,
            code=shlex.quote(str(folder.path / CODE)),
            ranks=spec.nodes * spec.ranks_per_node,
            command=shlex.join([sys.executable, "-m", LAUNCH, str(folder.path / "spec.json")]),
            interrupted=INTERRUPTED,
            rc=shlex.quote(str(folder.rc_file(number))),
        )

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        for line in self._ask(
            ["squeue", "--noheader", f"--name={job_name(fingerprint)}", "--format=%i|%T"]
        ).splitlines():
            number, _, state = line.partition("|")
            if state.strip() not in GONE:
                return {"job": _whole(number)}
        return None

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        state = self._states.of(str(handle["job"]), self._list)
        if state is None or state in GONE:
            return None
        return JobState.QUEUED if state in QUEUED else JobState.RUNNING

    def cancelled_outside(self, handle: dict[str, str | int]) -> bool:
        return self._states.of(str(handle["job"]), self._list) == "CANCELLED"

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None:
        self._end(fingerprint, ["scancel"])

    def kill(self, folder: JobFolder) -> None:
        # Of the script alone: a job of which every process is signalled counts as cancelled, and stays so.
        with self._lock(folder):
            self._end(folder.fingerprint, ["scancel", "--batch", "--signal=KILL"])

    def _end(self, fingerprint: str, command: list[str]) -> None:
        """Give the command a job's number until the job is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        while (found := self.look_up(fingerprint)) is not None:
            self._ask([*command, str(found["job"])])
            self._states.forget()
            if time.monotonic() > deadline:
                raise NeoError(f"Slurm job {found['job']} does not end, {STOP_SECONDS:.0f} s after {' '.join(command)}")
            time.sleep(0.5)

    # ------------------------------------------------ Slurm's commands

    def _list(self, jobs: list[str]) -> dict[str, str] | None:
        """Slurm's word for the state of each of these jobs; those it does not know any more are left out. None where
        its controller does not answer.
        """
        try:
            lines = self._once(
                ["squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}", "--format=%i|%T"]
            ).splitlines()
        except _NoAnswer:
            return None
        except NeoError as error:
            if "Invalid job id" not in str(error):
                raise
            return (
                {} if len(jobs) == 1 else {job: state for j in jobs for job, state in (self._list([j]) or {}).items()}
            )
        return _states_of(lines)

    def _ask(self, command: list[str]) -> str:
        """Run a command, again while the controller does not answer. Raises NeoError."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(_NoAnswer),
                stop=stop_after_delay(PATIENCE_SECONDS),
                wait=wait_exponential(min=1, max=30),
                reraise=True,
            ):
                with attempt:
                    return self._once(command)
        except _NoAnswer as error:
            raise NeoError(
                f"{command[0]}: Slurm's controller has not answered for {PATIENCE_SECONDS / 60:.0f} minutes ({error})"
            ) from None
        raise AssertionError

    @staticmethod
    def _once(command: list[str]) -> str:
        if shutil.which(command[0]) is None:
            raise MachineLacks(
                f"compute.backend is slurm, but there is no `{command[0]}` here: run this on a machine of the cluster,"
                " or set compute.backend: local"
            )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        if UNREACHABLE in done.stderr:
            raise _NoAnswer(done.stderr.strip())
        raise NeoError(
            f"{' '.join(command[:2])} …: {done.stderr.strip() or done.stdout.strip() or f'exit code {done.returncode}'}"
        )


def _whole(number: str) -> str:
    """The job that a task is of: 123 of 123_7 and of 123_[8-9]."""
    return number.strip().partition("_")[0]


def _states_of(lines: Iterable[str]) -> dict[str, str]:
    """State of every job that `squeue` lists; of one with many tasks that of the liveliest."""
    out: dict[str, str] = {}
    for job, _, state in (line.partition("|") for line in lines):
        before, now = out.get(_whole(job)), state.strip()
        if before is None or (before in GONE and now != "COMPLETED") or (before in QUEUED and now not in GONE | QUEUED):
            out[_whole(job)] = now
    return out


def job_name(fingerprint: str) -> str:
    """What a job is called in Slurm."""
    return f"neo-{fingerprint}"


BACKEND = SlurmCompute
