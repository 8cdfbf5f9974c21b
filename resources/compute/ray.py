"""Work over shards on a Ray cluster, through its Jobs API; the cluster is yours, and sees the store's file system.

A job's submission id is ``neo-‹work fingerprint›-‹attempt›``, which Ray lets nobody use twice: a submitter that died
before it noted the attempt is found again by it. Training runs are not started by Ray.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from typing import Any

from neo_assets.core.errors import MachineLacks, NeoError
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.frozen import CODE
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.place import CHECKOUT
from neo_assets.core.ray_tasks import bytes_of
from neo_assets.core.shard_job import CPUS, MINUTES, plan
from resources.compute.base import Compute

STOP_SECONDS = 60.0
QUEUED, STOPPED = "PENDING", "STOPPED"
ENDED = ("SUCCEEDED", "FAILED", STOPPED)


class RayCompute(Compute):
    name = "ray"

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        raise MachineLacks(
            f"{spec.title}: on Ray there is work over files alone (compute.data.engine); for this, compute.backend is"
            " local, slurm or kubernetes"
        )

    def start_tasks(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        data = self.settings.data
        tasks = -(-plan(folder, number, data.tasks * data.cpus) // data.cpus)
        told = {
            "NEO_JOB": spec.work_fingerprint,
            "NEO_JOB_ATTEMPT": str(number),
            CPUS: str(data.cpus),
            CHECKOUT: os.environ.get(CHECKOUT) or str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(folder.path / CODE),
            **({MINUTES: str(data.minutes_per_task)} if data.minutes_per_task else {}),
        }
        asked = [str(folder.path), str(number), str(tasks), str(data.cpus), str(bytes_of(data.memory))]
        command = [sys.executable, "-m", "neo_assets.core.ray_tasks", *asked, *(f"{k}={v}" for k, v in told.items())]
        lines = [*self.settings.setup, f"exec {shlex.join(command)}"]
        job = f"neo-{spec.work_fingerprint}-{number:04d}"
        with contextlib.suppress(_Taken):  # by a submitter that died before it could note it
            self._submit(job, " && ".join(lines), {"env_vars": {"PYTHONPATH": str(folder.path / CODE)}}, spec.title)
        return {"job": job, "tasks": tasks}

    def _submit(self, job: str, entrypoint: str, environment: dict[str, Any], title: str) -> None:
        client = self._client()
        try:
            client.submit_job(
                entrypoint=entrypoint, submission_id=job, runtime_env=environment, metadata={"title": title}
            )
        except RuntimeError as error:
            if any(one.submission_id == job for one in client.list_jobs()):
                raise _Taken from None
            raise NeoError(f"Ray at {self._address} did not take the job {job}: {error}") from None

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        live = [one for one in self._client().list_jobs() if self._lives(one, fingerprint)]
        return {"job": str(live[-1].submission_id)} if live else None

    @staticmethod
    def _lives(job: Any, fingerprint: str) -> bool:
        return str(job.submission_id or "").startswith(f"neo-{fingerprint}-") and job.status.value not in ENDED

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        state = self._state(str(handle["job"]))
        if state is None or state in ENDED:
            return None
        if state == UNKNOWN:
            return JobState.ELSEWHERE
        return JobState.QUEUED if state == QUEUED else JobState.RUNNING

    def cancelled_outside(self, handle: dict[str, str | int]) -> bool:
        return self._state(str(handle["job"])) == STOPPED

    def _state(self, job: str) -> str | None:
        """Ray's word; None for a job that it does not know (any more), UNKNOWN where it does not answer."""
        try:
            return str(self._client().get_job_status(job).value)
        except MachineLacks:
            return UNKNOWN
        except RuntimeError as error:
            if "404" in str(error):
                return None
            return UNKNOWN

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while (found := self.look_up(fingerprint)) is not None:
            self._client().stop_job(str(found["job"]))
            if time.monotonic() > deadline:
                raise NeoError(f"Ray's job {found['job']} does not end, {STOP_SECONDS:.0f} s after it was asked to")
            time.sleep(0.5)

    @property
    def _address(self) -> str:
        return self.settings.data.address or os.environ.get("RAY_API_SERVER_ADDRESS") or "http://127.0.0.1:8265"

    def _client(self) -> Any:
        try:
            from ray.job_submission import JobSubmissionClient
        except ModuleNotFoundError as error:
            raise MachineLacks(
                "compute.data.engine is ray, which is not installed here: pip install 'neofoundry[ray]'"
            ) from error
        try:
            return JobSubmissionClient(self._address)
        except ConnectionError as error:
            raise MachineLacks(
                f"no Ray cluster answers at {self._address} (compute.data.address, or RAY_API_SERVER_ADDRESS): {error}"
            ) from error


class _Taken(Exception):
    """A job of this name was submitted before."""


UNKNOWN = "unknown"
BACKEND = RayCompute
