"""Dagster is killed again and again while data is made; in the end the corpus is the one of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neo_assets.core.store import Store
from tests.factory.conftest import ROOT, Factory, write_instance
from tests.factory.site import write_site

COMMAND = [sys.executable, "-m", "dagster", "job", "execute", "-m", "definitions", "-j", "crawl_and_clean"]


def digests(factory: Factory) -> dict[str, str]:
    store = Store(factory.folder / "store")
    return {name: store.require(*pointer).manifest.digest for name, pointer in store.heads("ci").items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kills_change_nothing_in_the_corpus(tmp_path: Path, seed: int) -> None:
    made = []
    for name in ("quiet", "killed"):
        factory = Factory(tmp_path / name)
        (tmp_path / name).mkdir()
        write_instance(factory.folder / "home")
        write_site(factory.folder / "site")
        made.append(factory)
    quiet, killed = made
    assert quiet.run(*COMMAND[2:]).returncode == 0
    generator = random.Random(seed)
    for _ in range(4):
        run = subprocess.Popen(
            COMMAND, cwd=ROOT, env=killed.environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(generator.uniform(6, 25))
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait(timeout=30)
    last = killed.run(*COMMAND[2:])
    assert last.returncode == 0, last.stderr[-4000:]
    assert digests(killed) == digests(quiet)
