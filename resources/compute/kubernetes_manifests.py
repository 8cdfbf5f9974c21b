"""The Kubernetes objects of one attempt of a job: an indexed Job, one Pod a node, and the Service they meet by.

Who starts what again is divided once. A Pod that Kubernetes took away (``DisruptionTarget``), or whose program saved
because it was asked to, is replaced by Kubernetes in the same Job. A program that failed ends the Job
(``backoffLimit: 0``): whether there is another attempt is the recipe's ``max_attempts``, counted in the job's folder as
for any backend. The price: of several nodes, one that dies without a warning makes the others' programs fail, which
counts as an attempt.
"""

from __future__ import annotations

import shlex
from typing import Any

from neo_assets.core.errors import BadInput
from neo_assets.core.frozen import CODE, LAUNCH
from neo_assets.core.jobs import COLLECTIVE, STOPPED, JobSpec
from neo_assets.core.recipe.model import Compute as Settings

PORT = 29500
LABEL = "neofoundry/work"
ATTEMPT = "neofoundry/attempt"
"""Annotation: which attempt of ours the Job is."""
GRACE_SECONDS = 300
"""Between SIGTERM and SIGKILL: must be longer than a save."""
KEPT_SECONDS = 7 * 24 * 3600
"""How long Kubernetes keeps a Job that has ended, with the logs and exit codes of its Pods."""
HELD = 76
"""Exit code of a Pod whose job is paused or cancelled: ends the Job, where ``STOPPED`` would have the Pod replaced."""
INTERRUPTED = 70
"""Exit code of a job whose program ended without an error and without having finished."""

# A Pod's first process gets SIGTERM alone. torchrun would exit with 1 whatever its ranks' code was, and kill them 30 s
# later, so SIGTERM becomes the job's `stop` file and is not passed on. That the program saved is told by the message it
# appended: the `.stopped` file of a Job of several Pods may be gone again, removed by the first one that was replaced,
# and torchrun's ranks end with 0 either way. Of several that fail, the first writes its exit code down and the others
# need not save; one that was being taken away writes none, since that is no failure of the program's.
ENTRY = r"""
set -u
folder={folder} index="${{JOB_COMPLETION_INDEX:-0}}"
stopped="$folder/attempts/{number:04d}.stopped" rc="$folder/attempts/{number:04d}.rc"
held() {{ [ -e "$folder/paused" ] || [ -e "$folder/cancelled" ]; }}
stops() {{ cat "$folder/messages.jsonl" 2> /dev/null | grep -c '"event":"stopped"'; }}
finished() {{ grep -q '"event":"done"' "$folder/messages.jsonl" 2> /dev/null; }}
say() {{ echo "--- $*" >> "$folder/log.txt"; }}
held && exit {held}
[ "$index" = 0 ] && rm -f "$stopped" "$rc" "$folder/stop"
say "attempt {number}, $(date '+%Y-%m-%d %H:%M:%S'), Pod $HOSTNAME, index $index"
before=$(stops) taken=""
export NEO_JOB={fingerprint} NEO_JOB_ATTEMPT={number} OMP_NUM_THREADS={threads} PYTHONUNBUFFERED=1
cd "$folder/{code}" || exit 1
export PYTHONPATH="$folder/{code}"
trap 'taken=1; [ -e "$rc" ] && exit 1; echo SIGTERM > "$folder/stop"' TERM
{wait}{launcher} -m {launch} "$folder/spec.json" >> "$folder/log.txt" 2>&1 & child=$!
while kill -0 $child 2> /dev/null; do wait $child; done
wait $child; code=$?
for _ in $(seq 60); do
  # What the first Pod's program said last may take a moment to be seen by the other nodes.
  [ "$(stops)" -gt "$before" ] || finished || [ $code != 0 ] || [ "$index" = 0 ] && break
  sleep 1
done
if [ "$(stops)" -gt "$before" ]; then held && exit {held}; exit {stopped_code}; fi
[ $code = {held} ] || [ $code = {stopped_code} ] && code=1
if [ $code = 0 ]; then
  finished || {{ say "the program ended without saying that it was done"; code={interrupted}; }}
  [ "$index" = 0 ] || exit $code
elif [ -n "$taken" ]; then
  exit $code
fi
[ -e "$rc" ] || {{ echo $code > "$rc.$index" && mv "$rc.$index" "$rc"; }}
exit $code
"""
# A quarter of an hour for the first Pod to get a name; then torchrun says what is missing.
WAIT = """for _ in $(seq 900); do
  getent hosts {host} > /dev/null && break
  [ -z "$taken" ] || exit {stopped_code}
  sleep 1
done
"""

NEEDED = "compute.image (with this project installed) and compute.volume_claim (the store's) are needed for Kubernetes"

Manifest = dict[str, Any]


def object_name(fingerprint: str) -> str:
    """Name of a work's objects: a letter first, as Services ask for, and short enough for a host name with an index."""
    return f"neo-{fingerprint[:40]}"


def work_label(fingerprint: str) -> str:
    """Value of the label that a work's Pods carry; at most 63 characters may be one."""
    return fingerprint[:40]


def manifests(spec: JobSpec, settings: Settings, number: int) -> list[Manifest]:
    """The objects of attempt ``number``, as ``kubectl apply`` takes them: a Job, and for several nodes a Service.

    Raises:
        BadInput: the recipe names no image or no volume claim.
    """
    if not settings.image or not settings.volume_claim:
        raise BadInput(NEEDED)
    return [_job(spec, settings, number), *([_service(spec, settings, number)] if spec.nodes > 1 else [])]


def _metadata(spec: JobSpec, settings: Settings, number: int) -> Manifest:
    return {
        "name": object_name(spec.work_fingerprint),
        "namespace": settings.namespace,
        "labels": _labels(spec),
        "annotations": {
            "neofoundry/title": spec.title,
            "neofoundry/fingerprint": spec.work_fingerprint,
            ATTEMPT: str(number),
        },
    }


def _labels(spec: JobSpec) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "neofoundry", LABEL: work_label(spec.work_fingerprint)}


def _job(spec: JobSpec, settings: Settings, number: int) -> Manifest:
    replaced = [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [HELD]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"containerName": "main", "operator": "In", "values": [STOPPED]}},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(spec, settings, number),
        "spec": {
            "completionMode": "Indexed",
            "parallelism": spec.nodes,
            "completions": spec.nodes,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": replaced},
            "template": {"metadata": {"labels": _labels(spec)}, "spec": _pod(spec, settings, number)},
        },
    }


def _pod(spec: JobSpec, settings: Settings, number: int) -> Manifest:
    claim = {"claimName": settings.volume_claim}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_container(spec, settings, number)],
        "volumes": [
            {"name": "store", "persistentVolumeClaim": claim},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
        **({"subdomain": object_name(spec.work_fingerprint)} if spec.nodes > 1 else {}),
    }


def _container(spec: JobSpec, settings: Settings, number: int) -> Manifest:
    memory = {"memory": settings.memory} if settings.memory else {}
    gpus = {"nvidia.com/gpu": str(settings.gpus_per_node)} if settings.gpus_per_node else {}
    return {
        "name": "main",
        "image": settings.image,
        "command": ["/bin/bash", "-c", entry(spec, settings, number)],
        "resources": {
            "requests": {"cpu": str(spec.ranks_per_node * spec.threads_per_rank), **memory},
            "limits": {**memory, **gpus},
        },
        "volumeMounts": [{"name": "store", "mountPath": settings.mount}, {"name": "shm", "mountPath": "/dev/shm"}],
        **({"ports": [{"name": "rendezvous", "containerPort": PORT}]} if spec.nodes > 1 else {}),
    }


def entry(spec: JobSpec, settings: Settings, number: int) -> str:
    """The script a Pod runs: every path in it is one inside the container, where the claim's root is the store's."""
    host = f"{object_name(spec.work_fingerprint)}-0.{object_name(spec.work_fingerprint)}"
    return ENTRY.format(
        folder=shlex.quote(f"{settings.mount}/jobs/{spec.work_fingerprint}"),
        number=number,
        fingerprint=spec.work_fingerprint,
        threads=spec.threads_per_rank,
        wait=WAIT.format(host=host, stopped_code=STOPPED) if spec.nodes > 1 else "",
        launcher=_launcher(spec, host),
        launch=LAUNCH,
        code=CODE,
        held=HELD,
        stopped_code=STOPPED,
        interrupted=INTERRUPTED,
    )


def _launcher(spec: JobSpec, host: str) -> str:
    """torchrun for programs that have ranks, plain Python for the others, as on one machine."""
    if spec.nodes == spec.ranks_per_node == 1 and spec.program not in COLLECTIVE:
        return "python"
    ranks = f"--nproc-per-node={spec.ranks_per_node} --max-restarts=0"
    if spec.nodes == 1:
        return f"torchrun --standalone --nnodes=1 {ranks}"
    # c10d's own guess of who the host is compares host names, and a Pod's is not the name it is reached by.
    is_host = '$([ "$index" = 0 ] && echo true || echo false)'
    meeting = f"--rdzv-backend=c10d --rdzv-endpoint={host}:{PORT} --rdzv-id={object_name(spec.work_fingerprint)}"
    return f"torchrun --nnodes={spec.nodes} {meeting} --rdzv-conf=is_host={is_host},join_timeout=900 {ranks}"


def _service(spec: JobSpec, settings: Settings, number: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(spec, settings, number),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL: work_label(spec.work_fingerprint)},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }
