"""What went wrong reaches a web hook: each failure once, and again where the hook did not take it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from neo_assets.core.jobs import JobState
from neo_assets.core.recipe import load
from neo_assets.runs.alerts import URL, alerts
from resources.compute.local import LocalCompute
from tests.resources.sleeping import sleeper, starts, tell, until


class Hook:
    """A server of a web hook, on loopback; it refuses as long as ``open`` is False."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.open = True
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.open:
                    hook.said.append(json.loads(body)["text"])
                self.send_response(200 if hook.open else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()


@dg.op
def breaks() -> None:
    raise ValueError("on purpose")


@dg.job(name="some_job")
def some_job() -> None:
    breaks()


class _Resource(dg.ConfigurableResource):  # type: ignore[type-arg]
    root: str
    what: str

    def open(self) -> object:
        from neo_assets.core.store import Store

        return Store(Path(self.root)) if self.what == "store" else LocalCompute(Path(self.root))


def tick(instance: dg.DagsterInstance, root: Path, cursor: str | None) -> tuple[str | None, str]:
    """(the cursor afterwards, what the tick says)."""
    given = {name: _Resource(root=str(root), what=name) for name in ("store", "compute")}
    context = dg.build_sensor_context(instance, cursor=cursor, resources=given)
    said = alerts(load("ci")).evaluate_tick(context)
    return context.cursor, str(said.skip_message)


def test_each_failure_is_told_once(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = LocalCompute(tmp_path)
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) >= 1)
    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.delenv(URL, raising=False)
        assert "is not set" in tick(instance, tmp_path, None)[1]
        monkeypatch.setenv(URL, hook.url)
        cursor, said = tick(instance, tmp_path, None)
        assert (hook.said, said) == ([], "nothing new went wrong")
        tell(job, "fail")
        until(lambda: compute.poll(folder) is JobState.FAILED)
        assert not some_job.execute_in_process(instance=instance, raise_on_error=False).success
        hook.open = False
        with pytest.raises(Exception, match="503"):
            tick(instance, tmp_path, cursor)
        hook.open = True
        cursor, said = tick(instance, tmp_path, cursor)
        assert said == "2 told" and len(hook.said) == 2
        assert "of some_job failed (1 steps)" in hook.said[0]
        assert f"job {folder.fingerprint[:12]} failed after 1 attempts" in hook.said[1]
        cursor, said = tick(instance, tmp_path, cursor)
        assert said == "nothing new went wrong" and len(hook.said) == 2
