"""Shards in several processes: every worker comes to its end, whatever the process that asks ignores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neo_assets.core.artifact import Workspace
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.shards import LocalEngine, run_shards

ASK = """
import signal, sys
from pathlib import Path
from neo_assets.core.artifact import Workspace
from neo_assets.core.shards import LocalEngine, run_shards
from tests.core.test_shards import slowly

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # as a script's `dagster job execute … &` has them
        signal.signal(number, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    shards = [folder / str(i) for i in range(3)]
    out = Workspace(folder, engine=LocalEngine(3))
    run_shards(slowly, shards, out, writes=lambda shard: shard, input_bytes=1 << 40)
    print("done", signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
"""


def slowly(target: Path) -> None:
    target.write_text("made")


@pytest.mark.timeout(200)
def test_workers_end_though_signals_are_ignored(tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and done.stdout == "done True\n", done.stderr[-2000:]
    assert all((tmp_path / str(i)).read_text() == "made" for i in range(3))


def tell(target: Path) -> None:
    target.write_text(os.environ.get("TOLD", "nothing"))


def test_workers_have_the_environment_of_who_asks_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that forks them keeps the environment of this process's first call."""
    for told in ("first", "second"):
        monkeypatch.setenv("TOLD", told)
        (folder := tmp_path / told).mkdir()
        shards = [folder / str(i) for i in range(2)]
        out = Workspace(folder, engine=LocalEngine(2))
        run_shards(tell, shards, out, writes=lambda shard: shard, input_bytes=1 << 40)
        assert [shard.read_text() for shard in shards] == [told, told]
