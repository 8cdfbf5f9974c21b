"""The API server of the tests' Kubernetes: HTTP on loopback, answering as the real one does for what we use of it.

Objects are validated by Kubernetes' own schemas (kubernetes-validate), verbs by the Role in deploy/kubernetes; names
are exclusive, label selectors select, deletion has its propagation and preconditions. Nothing of ours changes an
object, so none can be changed. No watch, no other object. What runs the Jobs is in kubernetes_nodes.py.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from neo_assets.core.fingerprint import ROOT

TOKEN = "of-the-tests"
NAMED = re.compile(
    r"/apis?(?:/(?P<group>batch))?/v1/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<resource>jobs|pods|services)(?:/(?P<name>[^/]+))?"
)
QUANTITY = re.compile(r"[0-9.]+(Ki|Mi|Gi|Ti|m|k|M|G|T)?")
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    422: "Invalid",
    503: "ServiceUnavailable",
}

Object = dict[str, Any]


class Status(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason or REASONS[code]


class ApiServer:
    """Objects by kind, namespace and name, and the server that hands them out."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.lock = threading.RLock()
        self.granted = set(_granted(ROOT / "deploy" / "kubernetes" / "rbac.yaml"))
        self.requests: list[str] = []
        self.refuse = (0, 0)
        """So many next requests get this status."""
        self.address = ("127.0.0.1", 0)
        self.server: ThreadingHTTPServer | None = None

    # ------------------------------------------------ what a test does to it

    def kubeconfig(self, file: Path) -> Path:
        """Of a person who may what the Role grants."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": "http://{}:{}".format(*self.address)}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tester"}}],
            "users": [{"name": "tester", "user": {"token": TOKEN}}],
            "current-context": "tests",
        }
        file.write_text(yaml.safe_dump(content))
        return file

    def up(self) -> None:
        self.server = ThreadingHTTPServer(self.address, _handler(self))
        self.address = self.server.server_address[:2]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        """The API server is gone; what runs goes on running."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def all(self, kind: str) -> list[Object]:
        with self.lock:
            return json.loads(json.dumps([o for (k, _, _), o in self.objects.items() if k == kind]))

    def delete(self, kind: str, name: str, propagation: str = "Background") -> None:
        """As `kubectl delete` does, whatever the Role grants."""
        with self.lock:
            self._delete(kind, self.objects[kind, "default", name], {"propagationPolicy": propagation})

    def create(self, manifest: Object) -> None:
        """As `kubectl apply` does of an object that is not there."""
        with self.lock:
            self._create("jobs" if manifest["kind"] == "Job" else "services", "default", manifest)

    # ------------------------------------------------ requests

    def answer(self, method: str, address: str, body: Object, token: str | None) -> tuple[int, Object]:
        """Status and body for a request. Raises Status."""
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        with self.lock:
            left, code = self.refuse
            if left:
                self.refuse = (left - 1, code)
                raise Status(code, "the server is currently unable to handle the request")
            matched = NAMED.fullmatch(path)
            if matched is None:
                raise Status(404, "the server could not find the requested resource")
            kind, namespace, name = matched["resource"], matched["namespace"], matched["name"]
            verb = self._allowed(method, matched, token)
            if verb == "create":
                return 201, self._create(kind, namespace, body)
            if verb == "list":
                items = list(self._selected(kind, namespace, query))
                return 200, {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
            found = self.objects.get((kind, namespace, name))
            if found is None:
                raise Status(404, f'{kind} "{name}" not found')
            if verb == "delete":
                self._delete(kind, found, body | {k: v[0] for k, v in query.items()})
            return 200, found

    def _allowed(self, method: str, matched: re.Match[str], token: str | None) -> str:
        """The verb of a request, which the token and the Role allow."""
        if token != f"Bearer {TOKEN}":
            raise Status(401, "Unauthorized")
        kind, group = matched["resource"], matched["group"] or ""
        verb = {"GET": "get" if matched["name"] else "list", "POST": "create", "DELETE": "delete"}.get(method)
        if verb is None:
            raise Status(405, f"the server does not allow {method}")
        self.requests.append(f"{verb} {kind}")
        if (group, kind, verb) not in self.granted:
            where = f'in API group "{group}" in the namespace "{matched["namespace"]}"'
            raise Status(403, f'{kind} is forbidden: User "tester" cannot {verb} resource "{kind}" {where}')
        return verb

    def _create(self, kind: str, namespace: str, manifest: Object) -> Object:
        name = manifest["metadata"]["name"]
        _validate(manifest, namespace)
        if (kind, namespace, name) in self.objects:
            raise Status(409, f'{kind} "{name}" already exists', "AlreadyExists")
        given = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": "1"}
        made = manifest | {"metadata": manifest["metadata"] | given, "status": {}}
        self.objects[kind, namespace, name] = made
        return made

    def _selected(self, kind: str, namespace: str, query: dict[str, list[str]]) -> Iterator[Object]:
        wanted = dict(term.split("=", 1) for term in query.get("labelSelector", [""])[0].split(",") if term)
        for (k, n, _), found in self.objects.items():
            if (k, n) == (kind, namespace) and wanted.items() <= found["metadata"].get("labels", {}).items():
                yield found

    def _delete(self, kind: str, found: Object, options: Object) -> None:
        metadata = found["metadata"]
        if (uid := (options.get("preconditions") or {}).get("uid")) and uid != metadata["uid"]:
            raise Status(
                409,
                f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']})",
                "Conflict",
            )
        if kind == "pods":
            self._end_pod(found)
            return
        # Without a policy batch/v1 keeps its old default, which leaves the Pods alone.
        propagation = options.get("propagationPolicy") or ("Orphan" if kind == "jobs" else "Background")
        if propagation == "Foreground" and kind == "jobs":
            metadata.setdefault("deletionTimestamp", now())
            return
        for pod in self._pods(metadata["uid"]):
            if propagation == "Orphan":
                pod["metadata"]["ownerReferences"] = []
        del self.objects[kind, metadata["namespace"], metadata["name"]]

    def _pods(self, owner: str) -> list[Object]:
        pods = [o for (kind, _, _), o in self.objects.items() if kind == "pods"]
        return [p for p in pods if owner in owners_of(p)]

    def _end_pod(self, pod: Object, grace: float | None = None) -> None:
        raise NotImplementedError


def _validate(manifest: Object, namespace: str) -> None:
    name = manifest["metadata"]["name"]
    if manifest["metadata"].get("namespace", namespace) != namespace:
        raise Status(400, "the namespace of the provided object does not match the namespace sent on the request")
    try:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Status(422, f'{manifest["kind"]} "{name}" is invalid: {error.message}') from None
    if manifest["kind"] != "Job":
        return
    spec, pod = manifest["spec"], manifest["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    for quantity in [*resources["requests"].values(), *resources["limits"].values()]:
        if not QUANTITY.fullmatch(quantity):
            told = f'Invalid value: "{quantity}":\nquantities must match the regular expression'
            raise Status(422, f'Job.batch "{name}" is invalid: spec.template.spec.containers[0].resources: {told}')
    if (pod["restartPolicy"], spec.get("podReplacementPolicy", "Failed")) != ("Never", "Failed"):
        raise Status(422, f'Job.batch "{name}" is invalid: not what a podFailurePolicy goes with')


def _granted(file: Path) -> Iterator[tuple[str, str, str]]:
    """API group, resource and verb of what a file's Role allows."""
    roles = [d for d in yaml.safe_load_all(file.read_text()) if d["kind"] == "Role"]
    for rule in roles[0]["rules"]:
        yield from itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])


def owners_of(found: Object) -> set[str]:
    return {r["uid"] for r in found["metadata"].get("ownerReferences", [])}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _handler(cluster: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            try:
                code, found = cluster.answer(self.command, self.path, body, self.headers.get("Authorization"))
            except Status as error:
                code = error.code
                found = {
                    "apiVersion": "v1",
                    "kind": "Status",
                    "status": "Failure",
                    "message": str(error),
                    "reason": error.reason,
                    "code": code,
                }
            with cluster.lock:
                content = json.dumps(found, default=str).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _answer

        def log_message(self, *_: object) -> None: ...

    return Handler
