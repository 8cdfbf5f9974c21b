"""What the Kubernetes backend asks of a cluster, through the official client, and what it keeps of the answers.

Every call is one request with a time limit. No answer (connection refused, time-out, 429, 5xx) is told apart from an
answer that says no: the first is asked again, or changes nothing; the second is one line for the user. Importing the
client takes 2 to 3 s, so it is imported when a cluster is first asked something.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from neo_assets.core.errors import MachineLacks, NeoError
from neo_assets.core.recipe.model import Compute as Settings
from resources.compute.kubernetes_manifests import ATTEMPT, LABEL, Manifest

PATIENCE_SECONDS = 600.0
"""How long an API server that does not answer is asked again before a submission gives up."""
TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and to wait for an answer."""
T = TypeVar("T")
TRANSIENT = {429, 500, 502, 503, 504}
NOT_INSTALLED = "compute.backend is kubernetes, but its client is not installed here: pip install '.[kubernetes]'"


class NoAnswer(Exception):
    """The API server does not answer, or says that it cannot now."""


class Refused(NeoError):
    """The API server answered, and said no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class SeenJob:
    """A Job as it was at one look."""

    name: str
    uid: str
    attempt: int
    ended: str | None  # why, once it is Complete or Failed
    deleting: bool
    running: bool  # some Pod's container runs, or has done its part

    @property
    def live(self) -> bool:
        return self.ended is None and not self.deleting


@dataclass(frozen=True)
class SeenPod:
    """A Pod as it was at one look."""

    name: str
    owner: str | None  # uid of its Job
    alive: bool
    deleting: bool
    code: int | None
    why: str


class Cluster:
    """One namespace of the cluster named by ``KUBECONFIG``, ``~/.kube/config`` or a Pod's service account."""

    def __init__(self, settings: Settings) -> None:
        self.namespace, self.context = settings.namespace, settings.context

    # ------------------------------------------------ Jobs

    def job(self, name: str) -> SeenJob | None:
        try:
            return _seen_job(self._call(f"Job {name}", self._batch.read_namespaced_job, name=name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def create_job(self, manifest: Manifest) -> str | None:
        """The new Job's uid; None if there is one of its name."""
        return self._create(self._batch.create_namespaced_job, manifest)

    def delete_job(self, job: SeenJob) -> None:
        """Ask for the end of this very Job. It is gone once its Pods are."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": job.uid}}
        self._delete(f"Job {job.name}", self._batch.delete_namespaced_job, name=job.name, body=options)

    # ------------------------------------------------ Pods

    def pods(self, label: str) -> list[SeenPod]:
        """All Pods of a work, those of earlier Jobs that have not ended yet among them."""
        selector = f"{LABEL}={label}"
        found = self._call(f"Pods of {label}", self._core.list_namespaced_pod, label_selector=selector)
        return [_seen_pod(p) for p in found.items]

    def delete_pod(self, pod: SeenPod) -> None:
        self._delete(f"Pod {pod.name}", self._core.delete_namespaced_pod, name=pod.name)

    # ------------------------------------------------ Services

    def create_service(self, manifest: Manifest) -> str | None:
        """The new Service's uid; None if there is one of its name."""
        return self._create(self._core.create_namespaced_service, manifest)

    def service_owners(self, name: str) -> set[str]:
        """Uids of what a Service belongs to."""
        found = self._call(f"Service {name}", self._core.read_namespaced_service, name=name)
        return {owner.uid for owner in found.metadata.owner_references or []}

    def delete_service(self, name: str) -> None:
        self._delete(f"Service {name}", self._core.delete_namespaced_service, name=name)

    # ------------------------------------------------ the client

    def _call(self, what: str, method: Callable[..., Any], **arguments: object) -> Any:
        """One request. Raises NoAnswer, Refused."""
        with _answers(what):
            return method(namespace=self.namespace, _request_timeout=TIMEOUTS, **arguments)

    def _create(self, method: Callable[..., Any], manifest: Manifest) -> str | None:
        what = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            return str(self._call(what, method, body=manifest, field_validation="Strict").metadata.uid)
        except Refused as error:
            if error.reason == "AlreadyExists":
                return None
            raise

    def _delete(self, what: str, method: Callable[..., Any], **arguments: object) -> None:
        try:
            self._call(what, method, **arguments)
        except Refused as error:
            if error.status not in (404, 409):  # gone already, or another of its name by now
                raise

    @cached_property
    def _client(self) -> Any:
        """Raises MachineLacks where no cluster is configured."""
        client, config = _library()
        configuration = client.Configuration()
        configuration.retries = False
        files = os.environ.get("KUBECONFIG")
        try:
            if files or self.context or (Path.home() / ".kube" / "config").is_file():
                config.load_kube_config(files, self.context, configuration)
            else:
                config.load_incluster_config(configuration)
        except (config.ConfigException, OSError) as error:
            raise MachineLacks(
                f"compute.backend is kubernetes, but no cluster is configured here ({_line(str(error))}): "
                "set KUBECONFIG, run this in a Pod with a service account, or set compute.backend: local"
            ) from None
        return client.ApiClient(configuration)

    @cached_property
    def _batch(self) -> Any:
        return _library()[0].BatchV1Api(self._client)

    @cached_property
    def _core(self) -> Any:
        return _library()[0].CoreV1Api(self._client)


def _library() -> tuple[Any, Any]:
    """The official client and its configuration. Raises MachineLacks where it is not installed."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise MachineLacks(NOT_INSTALLED) from None
    return client, config


def patiently(call: Callable[[], T]) -> T:
    """Ask again while the API server does not answer. Raises NeoError."""
    again = Retrying(
        retry=retry_if_exception_type(NoAnswer),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_exponential(min=1, max=30),
        reraise=True,
    )
    try:
        return again(call)
    except NoAnswer as error:
        minutes = f"{PATIENCE_SECONDS / 60:.0f} minutes"
        raise NeoError(f"Kubernetes' API server has not answered for {minutes} ({error})") from None


@contextmanager
def _answers(what: str) -> Iterator[None]:
    """The client's exceptions as ours. Raises NoAnswer, Refused."""
    import urllib3

    client, _ = _library()
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise NoAnswer(_line(str(error))) from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(0, "Invalid", _line(f"{what}: {where}: {first['msg']}")) from None
    except client.ApiException as error:
        reason, message = _told(error)
        if error.status in TRANSIENT:
            raise NoAnswer(message) from None
        raise Refused(error.status or 0, reason, f"Kubernetes refuses {what}: {message}") from None


def _told(error: Any) -> tuple[str, str]:
    """Reason and message of an answer that is no success; of a proxy's own page, its first words."""
    try:
        body = json.loads(error.body)
        return str(body["reason"]), _line(f"{error.status} {body['message']}")
    except (TypeError, ValueError, KeyError):
        return "", _line(f"{error.status or ''} {error.reason or ''} {error.body or ''}")


def _line(text: str) -> str:
    return " ".join(text.split())[:500]


def _seen_job(job: Any) -> SeenJob:
    status = job.status
    ended = next((c for c in status.conditions or [] if c.type in ("Complete", "Failed") and c.status == "True"), None)
    # `active` counts Pods that wait for a node or an image as well; `ready`, which older servers lack, those that run.
    at_work = status.active if status.ready is None else status.ready
    return SeenJob(
        name=job.metadata.name,
        uid=job.metadata.uid,
        attempt=int((job.metadata.annotations or {}).get(ATTEMPT, "1")),
        ended=_line(f"Job {ended.type} {ended.reason or ''} {ended.message or ''}") if ended else None,
        deleting=job.metadata.deletion_timestamp is not None,
        running=bool(at_work or status.succeeded),
    )


def _seen_pod(pod: Any) -> SeenPod:
    status, metadata = pod.status, pod.metadata
    disrupted = [c.reason for c in status.conditions or [] if c.type == "DisruptionTarget" and c.status == "True"]
    main = next((s.state for s in status.container_statuses or [] if s.name == "main" and s.state), None)
    ended = main.terminated if main else None
    words = [*disrupted, status.reason, ended.reason if ended else None]
    return SeenPod(
        name=metadata.name,
        owner=next((owner.uid for owner in metadata.owner_references or [] if owner.kind == "Job"), None),
        alive=status.phase not in ("Succeeded", "Failed"),
        deleting=metadata.deletion_timestamp is not None,
        code=ended.exit_code if ended else None,
        why=", ".join(w for w in words if w),
    )
