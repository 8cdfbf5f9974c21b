"""What a test run must not keep quiet about: tests that were skipped because this machine lacks something."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Postgres, Slurm
from tests.servers import bubblewrap as find_bubblewrap

PACKAGES = Path(tempfile.gettempdir()) / f"neofoundry-packages-{os.getuid()}"
"""Debian packages that servers of the tests are unpacked from; outside the clone, so that a fresh one finds them."""


COSTLY = ("slurm", "postgres")
"""Servers that one process of a run starts for all tests that ask for them."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests run in two processes (`make test`), file by file: most wait for programs they have started. The factory's,
    which share one, come first.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        shared = next((name for name in COSTLY if name in getattr(item, "fixturenames", ())), file)
        item.add_marker(pytest.mark.xdist_group("factory" if file.startswith("tests/factory/") else shared))
    items.sort(key=lambda item: not item.nodeid.startswith("tests/factory/"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT RUN: {report.nodeid}: {reason}", red=True, bold=True)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm of one node with two cores; its commands are on this process's PATH while it runs."""
    server = Slurm(tmp_path_factory.mktemp("slurm"), PACKAGES, grace=5, extra="MessageTimeout=2\nKillWait=3\n")
    try:
        server.__enter__()
    except RuntimeError as error:
        pytest.skip(f"no Slurm can be started here: {error}")
    kept = dict(os.environ)
    os.environ.update(server.env)
    try:
        yield server
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(kept)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server."""
    server = Postgres(PACKAGES)
    try:
        server.__enter__()
    except RuntimeError as error:
        pytest.skip(f"no PostgreSQL can be started here: {error}")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bubblewrap() -> Path:
    """The path of a bubblewrap that works here."""
    try:
        return find_bubblewrap(PACKAGES)
    except RuntimeError as error:
        pytest.skip(f"no program can be sandboxed here: {error}")
