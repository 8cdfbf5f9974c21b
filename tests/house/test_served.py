"""Pages of the store in a browser: what is asked for by name and by fingerprint, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from neo_assets.core.recipe import load
from neo_assets.core.store import Artifact, Check, InputRef, MadeFrom, Outcome, Store, Workspace
from neo_assets.declare import PAGES, pages_of
from neo_assets.house.served import pages_app
from tests.servers import free_ports

HOSTILE = "<script>alert(1)</script>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def made(store: Store, key: str, reads: dict[str, Artifact], files: dict[str, str]) -> Artifact:
    def work(out: Workspace) -> Outcome:
        for name, text in files.items():
            out.write_text(name, text)
        return Outcome(
            digest=key,
            numbers={"documents": 12_345, "said": HOSTILE},
            tables={"by source": [{"source": HOSTILE, "n": i} for i in range(300)]},
            pictures={"a picture": "p.svg"} if "p.svg" in files else {},
            checks=[Check(name="whole", passed=False, detail=HOSTILE, blocking=False)],
        )

    inputs = {n: InputRef(fingerprint=a.fingerprint, digest=a.manifest.digest) for n, a in reads.items()}
    config: dict[str, object] = {"key": key, "note": HOSTILE}
    artifact, _ = store.build(key, MadeFrom(config=config, code={"m": "0" * 32}, libraries={}, inputs=inputs), work)
    store.set_head("ci", key, key, artifact.fingerprint)
    return artifact


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def client(store: Store) -> TestClient:
    app = pages_app(load("ci"), store, "http://127.0.0.1:3000")
    return TestClient(app, base_url="http://127.0.0.1:3001", follow_redirects=False)


def test_a_report_is_found_by_its_name_and_served_as_it_is(store: Store, client: TestClient) -> None:
    report = made(store, "factory_report", {}, {"report.html": "<p>the report</p>", "secret.txt": "no page"})
    there = f"/factory_report/{report.fingerprint}/report.html"
    assert client.get("/latest/factory_report").headers["location"] == there
    page = client.get(there)
    assert page.text == "<p>the report</p>" and page.headers["x-content-type-options"] == "nosniff"
    assert there in client.get("/").text
    assert client.get(f"/factory_report/{report.fingerprint}/manifest.json").json()["key"] == "factory_report"
    assert client.get(f"/factory_report/{report.fingerprint}/secret.txt").status_code == 404


def test_a_folder_of_pages_is_served_with_its_scripts_and_others_are_not(store: Store, client: TestClient) -> None:
    files = {"a.html": "", "index.html": "<p>start</p>", "documents/list.js": "neo.list({})", "secret.txt": "no page"}
    site, other = made(store, "site", {}, files), made(store, "factory_report", {}, {"report.html": "", "a.js": "x"})
    assert client.get("/latest/site").headers["location"] == f"/site/{site.fingerprint}/index.html"
    assert client.get(f"/site/{site.fingerprint}/documents/list.js").text == "neo.list({})"
    for path in (f"site/{site.fingerprint}/secret.txt", f"site/{site.fingerprint}/documents/%2e%2e/secret.txt"):
        assert client.get(f"/{path}").status_code == 404
    assert client.get(f"/factory_report/{other.fingerprint}/a.js").status_code == 404


def test_the_first_page_lists_what_people_come_for_before_all_else(store: Store, client: TestClient) -> None:
    assert "Nothing of this recipe is built yet" in client.get("/").text
    for name, file in (("a_page", "a.html"), ("comparison", "scores.html"), ("factory_report", "report.html")):
        made(store, name, {}, {file: "<p></p>"})
    page = client.get("/").text
    links = re.findall(r"<a [^>]*>([^<]*)</a>", page)
    assert links[:4] == ["Report", "Scores", "a.html of a_page", "Web UI"] and "<script" not in page
    assert "default-src 'none'" in page and "--pass" in page  # the house's frame and style


def test_every_artifact_has_a_page_with_its_numbers_pictures_checks_and_inputs(
    store: Store, client: TestClient
) -> None:
    above = made(store, "clean_docs/en", {}, {})
    below = made(store, "matrix", {"clean_docs/en": above}, {"p.svg": SVG})
    there = client.get("/latest/matrix?show=artifact").headers["location"]
    page = client.get(there).text
    assert there == f"/matrix/{below.fingerprint}/" and "12,345" in page and "data:image/svg+xml;base64," in page
    assert f'href="/clean_docs/en/{above.fingerprint}/"' in page and "and 100 more rows" in page
    assert 'href="http://127.0.0.1:3000/assets/matrix"' in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert client.get(f"/clean_docs/en/{above.fingerprint}/").status_code == 200
    assert client.get("/latest/clean_docs_en").headers["location"] == f"/clean_docs/en/{above.fingerprint}/"
    assert "sandbox" in client.get(f"/matrix/{below.fingerprint}/p.svg").headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3001", "127.0.0.1.evil.example", ""])
def test_another_name_for_this_machine_is_refused(store: Store, client: TestClient, host: str) -> None:
    made(store, "factory_report", {}, {"report.html": "<p>the report</p>"})
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/factory_report/%2e%2e/%2e%2e/heads",
        "/heads/ci/factory_report",
        "/factory_report/0123456789abcdef0123456789abcdef/report.html",
        "/matrix/NAME/",
        "/latest/none",
        "/latest/%3Cscript%3E",
    ],
)
def test_nothing_else_of_the_machine_is_served(store: Store, client: TestClient, path: str) -> None:
    made(store, "factory_report", {}, {"report.html": "<p>the report</p>"})
    answer = client.get(path)
    assert answer.status_code == 404 and "text/plain" in answer.headers["content-type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(store: Store, client: TestClient, method: str) -> None:
    made(store, "factory_report", {}, {"report.html": "<p>the report</p>"})
    assert client.request(method, "/").status_code == 405


def test_it_serves_on_loopback_and_ends_with_what_started_it(store: Store) -> None:
    (port,) = free_ports(1)
    script = (
        "import os, subprocess, sys\n"
        f"c = subprocess.Popen([sys.executable, '-m', 'neo_assets.house.served', '{port}', '', str(os.getpid())])\n"
        "print(c.pid, flush=True); input()"
    )
    env = {**os.environ, "NEO_STORE": str(store.root), "NEO_RECIPE": "ci"}
    parent = subprocess.Popen([sys.executable, "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    assert answer.status == 200
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        parent.kill()
        parent.wait()
        while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        for process in (parent,):
            process.kill()
            process.wait()


def test_assets_link_to_their_pages_while_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PAGES, raising=False)
    assert pages_of("comparison", ["html"]) == {}
    monkeypatch.setenv(PAGES, "http://127.0.0.1:3001")
    links = {name: value.url for name, value in pages_of("comparison", ["html"]).items()}
    assert links == {
        "open": "http://127.0.0.1:3001/latest/comparison",
        "artifact": "http://127.0.0.1:3001/latest/comparison?show=artifact",
    }
    assert list(pages_of("matrix", [])) == ["artifact"]
