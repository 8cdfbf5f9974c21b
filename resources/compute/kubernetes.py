"""Jobs on Kubernetes: the manifests, and nothing more. An indexed Job, one Pod a node, torchrun's rendezvous through a headless Service.

What can be said without a cluster is said: manifests are rendered (`neo plan RUN --manifest`) and validated against Kubernetes' own
schemas in the tests. Submitting is left to `kubectl apply`; the job's folder then tells the rest, as with any backend. Not tried on a cluster.
"""

from __future__ import annotations

from typing import Any

from neo_assets.core.errors import BadInput, MachineLacks
from neo_assets.core.jobs import STOPPED, JobFolder, JobSpec, JobState
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.base import Compute

PORT = 29500
LABEL = "neofoundry/work"
MOUNT = "/shared"
GRACE_SECONDS = 300
"""Between SIGTERM and SIGKILL: must be longer than a save."""

# torchrun exits with 1 whatever its ranks' code was, and kills them 30 s after SIGTERM. So the Pod's first process asks for a save by the job's
# `stop` file, and tells a requested stop from a failure by the `.stopped` file: without a failure of the program's own, the Pod may be replaced.
ENTRY = r"""
set -u
folder={folder}
stopped="$folder/attempts/0001.stopped"
[ "$JOB_COMPLETION_INDEX" = 0 ] && rm -f "$stopped" && {{ [ -e "$folder/paused" ] || rm -f "$folder/stop"; }}
export NEO_JOB={fingerprint} NEO_JOB_ATTEMPT=1 OMP_NUM_THREADS={threads} PYTHONUNBUFFERED=1
trap 'echo SIGTERM > "$folder/stop"' TERM
{wait}torchrun {rendezvous} --nproc-per-node={ranks} --max-restarts=0 -m {program} "$folder/spec.json" >> "$folder/log.txt" 2>&1 & child=$!
while kill -0 $child 2>/dev/null; do wait $child; done
wait $child; code=$?
[ -e "$stopped" ] && exit {stopped_code}
if [ $code = 0 ]; then [ "$JOB_COMPLETION_INDEX" = 0 ] && echo 0 > "$folder/attempts/0001.rc"; exit 0; fi
exit $code
"""


class KubernetesCompute(Compute):
    """Renders manifests; cannot submit them."""

    name = "kubernetes"

    def start(self, folder: JobFolder, spec: JobSpec, number: int) -> dict[str, str | int]:
        raise MachineLacks(
            f"{spec.title}: this version renders manifests for Kubernetes and does not submit them. `neo plan --manifest RUN | kubectl apply -f -` starts the job; "
            "its folder in the store tells how it is, and the next Dagster run picks its checkpoints up."
        )

    def look_up(self, fingerprint: str) -> dict[str, str | int] | None:
        return None

    def observe(self, handle: dict[str, str | int]) -> JobState | None:
        return None

    def stop(self, fingerprint: str, handle: dict[str, str | int] | None) -> None: ...


def object_name(fingerprint: str) -> str:
    """Name of a work's objects: a letter first, as Services ask for, and short enough for a host name with an index."""
    return f"neo-{fingerprint[:40]}"


def manifests(spec: JobSpec, folder: str, settings: Settings) -> list[dict[str, Any]]:
    """The objects of one job, as ``kubectl apply`` takes them: a Job, and for several nodes the Service through which its Pods meet.

    Raises:
        BadInput: the recipe names no image or no volume claim.
    """
    if not settings.image or not settings.volume_claim:
        raise BadInput("compute.image and compute.volume_claim are needed for Kubernetes: the image has this project installed, the claim holds the store")
    name, many = object_name(spec.work_fingerprint), spec.nodes > 1
    labels = {"app.kubernetes.io/managed-by": "neofoundry", LABEL: spec.work_fingerprint[:40]}
    metadata = {"name": name, "namespace": settings.namespace, "labels": labels, "annotations": {"neofoundry/title": spec.title, "neofoundry/fingerprint": spec.work_fingerprint}}
    host = f"{name}-0.{name}"
    # c10d's own guess of who the host is compares host names, and a Pod's is not the name it is reached by.
    meeting = f"--nnodes={spec.nodes} --rdzv-backend=c10d --rdzv-endpoint={host}:{PORT} --rdzv-id={name} --rdzv-conf=is_host=$([ $JOB_COMPLETION_INDEX = 0 ] && echo true || echo false),join_timeout=900"
    entry = ENTRY.format(
        folder=folder,
        fingerprint=spec.work_fingerprint,
        threads=spec.threads_per_rank,
        wait=f"until getent hosts {host} > /dev/null; do sleep 1; done\n" if many else "",
        rendezvous=meeting if many else "--standalone --nnodes=1",
        ranks=spec.ranks_per_node,
        program=spec.program,
        stopped_code=STOPPED,
    )
    cpus = str(spec.ranks_per_node * spec.threads_per_rank)
    limits = {"memory": settings.memory} if settings.memory else {}
    container: dict[str, Any] = {
        "name": "main",
        "image": settings.image,
        "command": ["/bin/bash", "-c", entry],
        "resources": {
            "requests": {"cpu": cpus, **limits},
            "limits": {**limits, **({"nvidia.com/gpu": str(settings.gpus_per_node)} if settings.gpus_per_node else {})},
        },
        "volumeMounts": [{"name": "store", "mountPath": MOUNT}, {"name": "shm", "mountPath": "/dev/shm"}],
        **({"ports": [{"name": "rendezvous", "containerPort": PORT}]} if many else {}),
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": settings.volume_claim}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}],
        **({"subdomain": name} if many else {}),
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "parallelism": spec.nodes,
            "completions": spec.nodes,
            "backoffLimit": spec.max_attempts * spec.nodes,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"containerName": "main", "operator": "In", "values": [STOPPED]}},
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    if not many:
        return [job]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {LABEL: spec.work_fingerprint[:40]}, "ports": [{"name": "rendezvous", "port": PORT}]},
    }
    return [job, service]
