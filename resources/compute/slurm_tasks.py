"""A call over shards as an array of Slurm jobs: its batch script, and the options of `sbatch`.

Each task of the array looks for itself what is left of its share, so it may be killed, put back and started again by
anybody. A node that fails is Slurm's to notice: the task is put back into the queue (``--requeue``). A task that comes
near its time limit ends between two shards and puts itself back.
"""

from __future__ import annotations

import os
import shlex
import sys

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.frozen import CODE, LAUNCH
from neo_assets.core.jobs import STOPPED, JobFolder, JobSpec
from neo_assets.core.place import CHECKOUT
from neo_assets.core.recipe.model import Compute as Settings
from neo_assets.core.shard_job import CPUS, MINUTES, TASK, attempt_folder

SCRIPT = """#!/bin/bash
# Attempt {number} of {title}, one task of many; starts again at this line when it is put back into the queue.
{setup}
folder={folder}
echo "--- attempt {number}, task $SLURM_ARRAY_TASK_ID, start $(( ${{SLURM_RESTART_COUNT:-0}} + 1 )), $(date '+%Y-%m-%d %H:%M:%S'), on $SLURMD_NODENAME"
export NEO_JOB={fingerprint} NEO_JOB_ATTEMPT={number} {task}=$SLURM_ARRAY_TASK_ID {cpus} {checkout} {limit}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}}
{command} &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
wait $child; code=$?
if [ $code = {stopped} ] && [ ! -e "$folder/paused" ] && [ ! -e "$folder/cancelled" ] && [ ! -e "$folder/stop" ]; then
  mine=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID  # the number of the last task alone is that of the whole array
  [ "$(squeue --noheader --jobs=$mine --format=%T)" = RUNNING ] || {{ sleep 3600; exit $code; }}
  echo "--- its time was over; back into the queue"
  scontrol requeue $mine && {{ sleep 3600; exit $code; }}
fi
exit $code
"""  # noqa: E501


def tasks_script(folder: JobFolder, spec: JobSpec, number: int, settings: Settings) -> str:
    """The batch script of every task of an attempt."""
    minutes = settings.data.minutes_per_task
    return SCRIPT.format(
        number=number,
        title=spec.title,
        setup="\n".join(settings.setup),
        folder=shlex.quote(str(folder.path)),
        fingerprint=spec.work_fingerprint,
        task=TASK,
        cpus=f"{CPUS}={settings.data.cpus}",
        checkout=f"{CHECKOUT}={shlex.quote(os.environ.get(CHECKOUT) or str(ROOT))}",
        limit=f"{MINUTES}={minutes}" if minutes else "",
        code=shlex.quote(str(folder.path / CODE)),
        command=shlex.join([sys.executable, "-m", LAUNCH, str(folder.path / "spec.json")]),
        stopped=STOPPED,
    )


def tasks_options(folder: JobFolder, spec: JobSpec, number: int, tasks: int, settings: Settings) -> list[str]:
    """Options of `sbatch` for an attempt with so many tasks, but for its name."""
    data = settings.data
    place = attempt_folder(folder, number)
    given = {
        "partition": data.partition or settings.partition,
        "account": settings.account,
        "time": data.minutes_per_task,
        "mem": data.memory,
    }
    return [
        f"--comment={spec.title}",
        f"--array=0-{tasks - 1}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={data.cpus}",
        f"--output={place}/log-%a.txt",
        "--open-mode=append",
        "--requeue",
        f"--chdir={folder.path / CODE}",
        *(f"--{name}={value}" for name, value in given.items() if value is not None),
        *settings.sbatch_options,
    ]
