"""A Kubernetes of one process for tests: the API server of kubernetes_api.py, a Job controller, and a kubelet.

The controller follows Kubernetes' documentation for indexed Jobs: backoffLimit, podFailurePolicy, podReplacementPolicy:
Failed, completedIndexes, and conditions that come once every Pod has ended. The kubelet really runs each container's
command, in a session of its own, and signals its first process alone, as in a container; where the command says the
mount or a Pod's host name, it puts this machine's. It is no cluster: no scheduler, no images, no network between Pods.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from neo_assets.core.fingerprint import ROOT
from resources.compute.kubernetes_manifests import PORT
from tests.resources.kubernetes_api import ApiServer, Object, now, owners_of

TICK_SECONDS = 0.05
GRACE_SECONDS = 60.0
"""In place of the Pods' own."""


@dataclass
class Container:
    """A container's process on this machine."""

    process: subprocess.Popen[bytes]
    uid: str
    started: str
    kill_at: float | None = None
    reason: str = "Error"  # of its end, if it fails

    def term(self, grace: float) -> None:
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """What a container's end does to all its processes, sessions of their own or not."""
        for pid in _processes(self.uid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


class Kubernetes(ApiServer):
    """``with Kubernetes(store, mount, path) as cluster``: it is up, and nothing outlives the block."""

    def __init__(self, store: Path, mount: str, path: str) -> None:
        super().__init__()
        self.store, self.mount = store, mount
        self.path = path
        """PATH of the containers."""
        self.rendezvous = PORT
        self.nodes = 8
        """Pods that run at once; the others wait."""
        self.most = 0
        """Pods that ever ran at once."""
        self.overdue = 0
        """Pods that did not end within their grace."""
        self.collects = True
        """Whether the garbage collector keeps up with what has no owner any more, Pods aside."""
        self.containers: dict[str, Container] = {}
        self.counted: set[str] = set()
        self.succeeded: dict[str, set[int]] = {}
        self.failing: dict[str, tuple[str, str]] = {}
        self.over = threading.Event()
        self.worker = threading.Thread(target=self._run, daemon=True)
        self.broken: Exception | None = None

    def __enter__(self) -> Self:
        self.up()
        self.worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.worker.join()
        self.down()
        for container in self.containers.values():
            container.kill()
        if self.broken:
            raise self.broken

    # ------------------------------------------------ what a test does to it

    def running(self) -> list[Object]:
        return [p for p in self.all("pods") if p["status"]["phase"] == "Running"]

    def evict(self, pod: Object, grace: float | None = None) -> None:
        """As `kubectl drain` does; with no grace, as a node that is lost and given up."""
        with self.lock:
            found = self.objects["pods", pod["metadata"]["namespace"], pod["metadata"]["name"]]
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "lastTransitionTime": now(),
            }
            found["status"].setdefault("conditions", []).append(condition)
            self._end_pod(found, grace)

    def out_of_memory(self, pod: Object) -> None:
        with self.lock:
            container = self.containers[pod["metadata"]["uid"]]
            container.reason = "OOMKilled"
            container.kill()

    # ------------------------------------------------ controller and garbage collector

    def _run(self) -> None:
        try:
            while not self.over.wait(TICK_SECONDS):
                with self.lock:
                    self._tick()
        except Exception as error:  # a test must not wait for a controller that is no more, and pass
            self.broken = error

    def _tick(self) -> None:
        for kind, look_after in (("pods", self._look_after_pod), ("jobs", self._look_after_job)):
            for (found_kind, _, _), found in list(self.objects.items()):
                if found_kind == kind:
                    look_after(found)
        self._collect_garbage()

    def _collect_garbage(self) -> None:
        uids = {o["metadata"]["uid"] for o in self.objects.values()}
        for key, found in list(self.objects.items()):
            owners, uid = owners_of(found), found["metadata"]["uid"]
            if key[0] == "pods":
                if owners and not owners & uids:
                    self._end_pod(found)
                told = uid in self.counted or not owners & uids
                if "deletionTimestamp" in found["metadata"] and _ended(found) and told:
                    del self.objects[key]
            elif self.collects and owners and not owners & uids:
                del self.objects[key]

    def _look_after_job(self, job: Object) -> None:
        uid, status = job["metadata"]["uid"], job["status"]
        pods = self._pods(uid)
        if "deletionTimestamp" in job["metadata"]:
            for pod in pods:
                self._end_pod(pod)
            self.counted.update(p["metadata"]["uid"] for p in pods if _ended(p))
            if not pods:
                del self.objects["jobs", job["metadata"]["namespace"], job["metadata"]["name"]]
        elif not status.get("conditions"):
            self._count(job, [p for p in pods if _ended(p) and p["metadata"]["uid"] not in self.counted])
            self._conclude(job, [p for p in pods if not _ended(p)])
            self._replace(job, pods)
        left = [p for p in self._pods(uid) if not _ended(p)]
        leaving = [p for p in left if "deletionTimestamp" in p["metadata"]]
        succeeded = sorted(self.succeeded.get(uid, set()))
        status |= {
            "active": len(left) - len(leaving),
            "terminating": len(leaving),
            "ready": sum(p["status"]["phase"] == "Running" for p in left if p not in leaving),
            "succeeded": len(succeeded),
            "completedIndexes": ",".join(map(str, succeeded)),
        }

    def _count(self, job: Object, ended: list[Object]) -> None:
        """Pods that have ended, by the Job's policy."""
        uid, status, spec = job["metadata"]["uid"], job["status"], job["spec"]
        for pod in ended:
            self.counted.add(pod["metadata"]["uid"])
            if pod["status"]["phase"] == "Succeeded":
                self.succeeded.setdefault(uid, set()).add(_index(pod))
                continue
            action = _action(spec["podFailurePolicy"]["rules"], pod)
            if action == "FailJob":
                told = f"Container main for pod {pod['metadata']['name']} failed with exit code {_code(pod)}"
                self.failing[uid] = ("PodFailurePolicy", f"{told} matching FailJob rule")
            elif action == "Count":
                status["failed"] = status.get("failed", 0) + 1
                if status["failed"] > spec["backoffLimit"]:
                    self.failing.setdefault(uid, ("BackoffLimitExceeded", "Job has reached the backoff limit"))

    def _conclude(self, job: Object, left: list[Object]) -> None:
        """A Job that fails ends its other Pods. Its condition comes once none is left, as that of a complete one."""
        uid = job["metadata"]["uid"]
        if uid in self.failing:
            for pod in left:
                self._end_pod(pod)
        done = len(self.succeeded.get(uid, set())) == job["spec"]["completions"]
        if left or not (done or uid in self.failing):
            return
        kind = "Failed" if uid in self.failing else "Complete"
        reason, message = self.failing.get(uid, ("CompletionsReached", "Reached expected number of succeeded pods"))
        condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}
        job["status"]["conditions"] = [condition]

    def _replace(self, job: Object, pods: list[Object]) -> None:
        """A Pod for every index that has none and is not done; one that is ending counts (podReplacementPolicy)."""
        uid = job["metadata"]["uid"]
        if uid in self.failing:
            return
        busy = {_index(p) for p in pods if not _ended(p)} | self.succeeded.get(uid, set())
        for index in range(job["spec"]["completions"]):
            if index not in busy:
                self._create_pod(job, index)

    def _create_pod(self, job: Object, index: int) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        name = f"{metadata['name']}-{index}-{uuid.uuid4().hex[:5]}"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "uid": str(uuid.uuid4()),
                "labels": template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": metadata["name"]},
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.objects["pods", metadata["namespace"], name] = pod

    # ------------------------------------------------ kubelet

    def _end_pod(self, pod: Object, grace: float | None = None) -> None:
        pod["metadata"].setdefault("deletionTimestamp", now())
        if container := self.containers.get(pod["metadata"]["uid"]):
            container.term(GRACE_SECONDS if grace is None else grace)
        elif not _ended(pod):
            pod["status"]["phase"] = "Failed"

    def _look_after_pod(self, pod: Object) -> None:
        uid, status = pod["metadata"]["uid"], pod["status"]
        container = self.containers.get(uid)
        if container is None:
            if status["phase"] == "Pending" and len(self.containers) < self.nodes:
                self.containers[uid] = self._start(pod)
                self.most = max(self.most, len(self.containers))
                status |= {
                    "phase": "Running",
                    "containerStatuses": [_container_status({"running": {"startedAt": now()}})],
                }
            return
        if container.kill_at is not None and time.monotonic() > container.kill_at:
            self.overdue += 1
            container.kill()
        code = container.process.poll()
        if code is not None:
            container.kill()
            code = 128 - code if code < 0 else code
            ended = {
                "exitCode": code,
                "reason": "Completed" if code == 0 else container.reason,
                "startedAt": container.started,
                "finishedAt": now(),
            }
            status |= {
                "phase": "Succeeded" if code == 0 else "Failed",
                "containerStatuses": [_container_status({"terminated": ended})],
            }
            del self.containers[uid]

    def _start(self, pod: Object) -> Container:
        name = next(r["name"] for r in pod["metadata"]["ownerReferences"])
        command = [self._here(part, name) for part in pod["spec"]["containers"][0]["command"]]
        uid = pod["metadata"]["uid"]
        environment = {
            "PATH": self.path,
            "HOME": os.environ.get("HOME", "/"),
            "HOSTNAME": pod["metadata"]["name"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "JOB_COMPLETION_INDEX": str(_index(pod)),
            "TEST_POD": uid,
        }
        with (self.store / "containers.txt").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd="/",
                start_new_session=True,
                preexec_fn=hears_signals,
            )
        return Container(process, uid, now())

    def _here(self, text: str, job: str) -> str:
        """A part of a container's command with this machine's paths, names and ports."""
        for theirs, ours in [
            (f"{job}-0.{job}", "localhost"),
            (f":{PORT}", f":{self.rendezvous}"),
            (self.mount, self.store),
        ]:
            text = text.replace(theirs, str(ours))
        return text


def _action(rules: list[Object], pod: Object) -> str:
    """Of the first rule that fits."""
    conditions = {(c["type"], c["status"]) for c in pod["status"].get("conditions", [])}
    for rule in rules:
        exits = rule.get("onExitCodes")
        if exits and _code(pod) in exits["values"]:
            return rule["action"]
        if any((c["type"], c["status"]) in conditions for c in rule.get("onPodConditions", [])):
            return rule["action"]
    return "Count"


def _container_status(state: Object) -> Object:
    return {"name": "main", "image": "", "imageID": "", "ready": "running" in state, "restartCount": 0, "state": state}


def _ended(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _code(pod: Object) -> int | None:
    statuses = pod["status"].get("containerStatuses", [])
    return statuses[0]["state"].get("terminated", {}).get("exitCode") if statuses else None


def _index(pod: Object) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def _processes(uid: str) -> list[int]:
    """Processes of a Pod: all that inherited its mark."""
    mark, found = f"TEST_POD={uid}".encode(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def hears_signals() -> None:
    """As container runtimes start a process: a shell cannot trap what was ignored where it was started."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
