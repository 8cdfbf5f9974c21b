"""Jobs on Kubernetes, from any machine that reaches a cluster's API server and sees the store's file system.

An attempt of ours is a Job of Kubernetes', named by its work: a submitter that died between creating and noting it is
found again by that name, and a second one meets 409. What decides is in the job's folder; the API server is asked
whether the Job is still there, and how its Pods ended where the folder does not tell. A Job that has ended is kept for
people to read until the next attempt, a week at most.

A Job that vanished, and that we neither saw end nor deleted, was deleted by somebody: it is taken for cancelled. Of
what we saw or did we leave ``attempts/‹the Job's uid›.ended``. A look costs one GET. Not tried on a cluster: tested
against a server of our own that validates by Kubernetes' schemas and runs the commands (tests/resources).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import JobFolder, JobSpec, JobState
from neo_assets.core.recipe.run import Run
from resources.compute.base import Compute
from resources.compute.kubernetes_cluster import Cluster, NoAnswer, SeenJob, patiently
from resources.compute.kubernetes_manifests import GRACE_SECONDS, Manifest, manifests, object_name, work_label

LOOK_SECONDS = 0.5
STOP_SECONDS = GRACE_SECONDS + 60.0
"""How long the Pods of a deleted Job may take: their grace, and what the cluster needs to notice."""
LOST_NODE = ": a node that does not answer keeps its Pods until the cluster gives it up"


class KubernetesCompute(Compute):
    name = "kubernetes"

    def launch_command(self, name: str, run: Run) -> str:
        return f"neo plan {name} --manifest | kubectl apply -f -"

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.settings)

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        if folder.exit_code(number) is not None:
            return _handle(folder, number, "")  # has run and ended, and nobody lived to note it
        job, *service = manifests(spec, self.settings, number)
        uid: list[str] = []

        def created() -> bool:
            uid[:] = [u for u in [self._create(folder, job)] if u]
            return bool(uid)

        self._until(created, f"Job {object_name(folder.fingerprint)} of an earlier attempt is not gone")
        for manifest in service:
            self._until(
                partial(self._meet, manifest, uid[0]),
                f"Service {manifest['metadata']['name']} of an earlier attempt is not gone",
            )
        return _handle(folder, number, uid[0])

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        job = patiently(lambda: self.cluster.job(object_name(fingerprint)))
        return _handle(self.folder(fingerprint), job.attempt, job.uid) if job and not job.ended else None

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        try:
            job = self._job_of(handle)
            if job and job.ended:
                self._note_end(self.folder(str(handle["work"])), job)
        except NoAnswer:
            return JobState.RUNNING  # no answer is no end
        if job is None or job.ended:
            return None
        return JobState.RUNNING if job.running or job.deleting else JobState.QUEUED

    def cancelled_outside(self, handle: dict[str, str | int]) -> bool:
        folder, number = self.folder(str(handle["work"])), int(handle["attempt"])
        if not handle["uid"] or folder.exit_code(number) is not None or _end_file(folder, str(handle["uid"])).exists():
            return False
        try:
            return self._job_of(handle) is None
        except NoAnswer:
            return False

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None:
        name = object_name(fingerprint)

        def gone() -> bool:
            job = self.cluster.job(name)
            if job and job.live:
                self._delete(self.folder(fingerprint), job)
            pods = [p for p in self.cluster.pods(work_label(fingerprint)) if p.alive]
            for pod in pods:
                if job is None and not pod.deleting:  # its Job was deleted without it
                    self.cluster.delete_pod(pod)
            return not pods and (job is None or job.ended is not None)

        self._until(gone, f"Job {name} does not end")

    # ------------------------------------------------ creating

    def _create(self, folder: JobFolder, manifest: Manifest) -> str | None:
        """Uid of the Job: the new one, or the live one of its name.

        None while one of an earlier attempt is there, which is deleted.
        """
        if uid := self.cluster.create_job(manifest):
            return uid
        job = self.cluster.job(manifest["metadata"]["name"])
        if job and job.live:
            return job.uid
        if job and not job.deleting:
            self._delete(folder, job)
        return None

    def _meet(self, manifest: Manifest, owner: str) -> bool:
        """Whether this Job's Service is there, which goes when it goes. An earlier Job's is deleted first."""
        name = manifest["metadata"]["name"]
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner}
        owned = manifest | {"metadata": manifest["metadata"] | {"ownerReferences": [reference]}}
        if self.cluster.create_service(owned):
            return True
        owners = self.cluster.service_owners(name)
        if not owners or owner in owners:
            return True
        self.cluster.delete_service(name)
        return False

    # ------------------------------------------------ ending

    def _delete(self, folder: JobFolder, job: SeenJob) -> None:
        if job.ended:
            self._note_end(folder, job)
        else:
            records.write_text(_end_file(folder, job.uid), "deleted by neo")
        self.cluster.delete_job(job)

    def _note_end(self, folder: JobFolder, job: SeenJob) -> None:
        """Once for a Job that has ended without an exit code: what Kubernetes says of it, also to the log's reader."""
        note = _end_file(folder, job.uid)
        if note.exists() or folder.exit_code(job.attempt) is not None:
            return
        pods = [p for p in self.cluster.pods(work_label(folder.fingerprint)) if p.owner == job.uid and p.code != 0]
        ended = "; ".join([job.ended or "", *(f"Pod {p.name}: {p.why}, exit code {p.code}" for p in pods)])
        if not folder.stopped(job.attempt):
            with folder.log_file.open("a", encoding="utf-8") as log:
                log.write(f"--- Kubernetes: {ended}\n")
        records.write_text(note, ended)

    def _job_of(self, handle: dict[str, str | int]) -> SeenJob | None:
        """The very Job of a handle; a later one of its name is another."""
        job = self.cluster.job(str(handle["job"]))
        return job if job and job.uid == handle["uid"] else None

    @staticmethod
    def _until(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while not patiently(condition):
            if time.monotonic() > deadline:
                raise NeoError(f"{what}, {STOP_SECONDS:.0f} s after its deletion{LOST_NODE}")
            time.sleep(LOOK_SECONDS)


def _handle(folder: JobFolder, number: int, uid: str) -> dict[str, str | int]:
    return {"job": object_name(folder.fingerprint), "uid": uid, "attempt": number, "work": folder.fingerprint}


def _end_file(folder: JobFolder, uid: str) -> Path:
    """What Kubernetes said when a Job ended, or that we ended it."""
    return folder.path / "attempts" / f"{uid}.ended"


BACKEND = KubernetesCompute
