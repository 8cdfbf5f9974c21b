"""A process is found again by what it is, not by a number that another has by now; with /proc and without it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core import process
from neo_assets.core.process import alive, carrying, handle, read, start_ticks, written


@pytest.fixture(params=["proc", "psutil"], autouse=True)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both ways to read processes; without /proc as on macOS."""
    if request.param == "proc" and not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc")
    if request.param == "psutil":
        monkeypatch.setattr(process, "PROC", tmp_path / "none")
    process.boot_id.cache_clear()
    request.addfinalizer(process.boot_id.cache_clear)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
        env={**os.environ, "NEO_JOB": "abc=d é"},
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()


def test_a_process_lives_until_it_ends_and_a_zombie_does_not(sleeper: subprocess.Popen[bytes]) -> None:
    found = handle(sleeper.pid)
    assert alive(found) and start_ticks(sleeper.pid) == found["ticks"] and read(written(found)) == found
    time.sleep(0.05)
    assert handle(sleeper.pid) == found  # told alike at any time
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet waited for
    assert alive(found) is False and start_ticks(sleeper.pid) is None


def test_a_number_that_another_process_has_by_now_is_not_it(sleeper: subprocess.Popen[bytes]) -> None:
    found = handle(sleeper.pid)
    assert alive(found | {"ticks": int(found["ticks"]) - 1}) is False
    assert alive(found | {"boot": "another"}) is False
    assert alive(found | {"host": "elsewhere"}) is None


def test_a_job_is_found_by_its_name_in_the_environment(sleeper: subprocess.Popen[bytes]) -> None:
    assert carrying("NEO_JOB", "abc=d é") == [sleeper.pid]
    assert carrying("NEO_JOB", "abc") == []
    sleeper.kill()
    sleeper.wait()
    assert carrying("NEO_JOB", "abc=d é") == []
