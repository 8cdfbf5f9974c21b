"""What a test run must not keep quiet about: tests that were skipped because this machine lacks something."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.servers import S3, Postgres, Ray, Server, Slurm
from tests.servers import browser as find_browser
from tests.servers import bubblewrap as find_bubblewrap

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PACKAGES = Path(tempfile.gettempdir()) / f"neofoundry-packages-{os.getuid()}"
"""Debian packages that servers of the tests are unpacked from; outside the clone, so that a fresh one finds them."""


S = TypeVar("S", bound=Server)
COSTLY = ("slurm", "postgres")
"""Servers that one process of a run starts for all tests that ask for them."""
RESTARTED = ("test_reboot", "test_watched", "test_interrupted")
"""Files of the factory's tests that mostly wait for daemons: they have a factory of their own, in another process."""
OF_THEIR_OWN = ("test_object_storage",)
"""Files there that share nothing with others."""
LONGEST = ("factory", "factory restarted", *COSTLY, "tests/training", "tests/runs", "tests/resources")
"""What takes longest, or waits most, is begun first, so that no process is left with it at the end."""


@functools.cache
def group_of(file: str) -> str:
    """What a test file shares with others that one process has to run with it: the factory, or a server."""
    if file.startswith("tests/factory/"):
        stem = Path(file).stem
        return "factory restarted" if stem in RESTARTED else file if stem in OF_THEIR_OWN else "factory"
    text = Path(__file__).parent.parent.joinpath(file).read_text(encoding="utf-8")
    return next((server for server in COSTLY if re.search(rf"\b{server}: ", text)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Files are handed out whole, to the next process that is free: what a file's tests share is made once.

    xdist's own groups go by a suffix to a test's identifier, which pytest 9.2 no longer shows.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid.partition("::")[0])

    return Groups(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid.partition("::")[0])
        return next(
            (i for i, name in enumerate(LONGEST) if group == name or group.startswith(f"{name}/")), len(LONGEST)
        )

    items.sort(key=place)


_RAN_IN: dict[str, set[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if (worker := getattr(report, "worker_id", "")) and worker != "master":
        _RAN_IN.setdefault(group_of(report.nodeid.partition("::")[0]), set()).add(worker)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was to be made once, was: else a run would take twice the time and say nothing."""
    if apart := [group for group, workers in _RAN_IN.items() if len(workers) > 1]:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        print(f"\nran in several processes, though their tests share what they make: {', '.join(sorted(apart))}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT RUN: {report.nodeid}: {reason}", red=True, bold=True)


def started(server: S, what: str) -> Iterator[S]:
    """A server while it is needed; where it cannot be started, its tests say so."""
    try:
        server.__enter__()
    except RuntimeError as error:
        pytest.skip(f"no {what} can be started here: {error}")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def slurm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm of one node with two cores."""
    server = Slurm(tmp_path_factory.mktemp("slurm"), PACKAGES, grace=5, extra="MessageTimeout=2\nKillWait=3\n")
    yield from started(server, "Slurm")


@pytest.fixture
def slurm(slurm_server: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A real Slurm, its commands on this process's PATH while the test runs: whatever else is tested finds none."""
    for name, value in slurm_server.env.items():
        monkeypatch.setenv(name, value)
    return slurm_server


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm of three nodes of two cores each, on this machine."""
    extra = "MessageTimeout=2\nKillWait=3\n"
    server = Slurm(tmp_path_factory.mktemp("slurm3"), PACKAGES, grace=5, extra=extra, nodes=3)
    yield from started(server, "Slurm")


@pytest.fixture(scope="module")
def three_raylets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """A real Ray of three nodes of two cores each, on this machine."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    server = Ray(tmp_path_factory.mktemp("ray"))
    yield from started(server, "Ray")


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 protocol server, moto's."""
    pytest.importorskip("moto", reason="moto is not installed: nothing of object storage is tested")
    pytest.importorskip("obstore", reason="the extra [s3] is not installed: nothing of object storage is tested")
    yield from started(S3(tmp_path_factory.mktemp("s3")), "S3")


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The same, with an empty bucket, and this process asking it."""
    s3_server.empty()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, s3_server.env[name])
    return s3_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server."""
    server = Postgres(PACKAGES)
    yield from started(server, "PostgreSQL")


@pytest.fixture(scope="session")
def bubblewrap() -> Path:
    """The path of a bubblewrap that works here."""
    try:
        return find_bubblewrap(PACKAGES)
    except RuntimeError as error:
        pytest.skip(f"no program can be sandboxed here: {error}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    from benchmarks.score_page import chromium

    try:
        started = chromium(*find_browser(PACKAGES))
        made = started.__enter__()
    except RuntimeError as error:
        pytest.skip(f"no browser can be started here: {error}")
    try:
        yield made
    finally:
        started.__exit__(None, None, None)
