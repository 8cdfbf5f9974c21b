"""A job's process ends at once, and with all that an orderly end does."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ENDS = """
import sys
from unittest.mock import patch
from neo_assets.core import launch

def program(_):
    {body}

with patch.object(launch, "launch", program):
    sys.argv = ["launch", "spec.json"]
    launch.main()
"""
LATE = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start(); return 0"
HELD = """
    class Held:
        def __del__(self):
            print("taken apart")
    sys.held = Held()
    return 0"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("print('out', end=''); print('err', end='', file=sys.stderr); return 0", 0, "out"),
        ("return 78", 78, ""),
        ("raise ValueError('what went wrong')", 1, "ValueError: what went wrong"),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit('in one line')", 1, "in one line"),
        (LATE, 0, "late"),
        ("import atexit; atexit.register(print, 'registered'); return 5", 5, "registered"),
    ],
)
def test_it_ends_with_the_code_and_what_was_to_be_done(body: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(body=body)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


def test_a_job_of_a_process_that_ignores_sigterm_can_be_ended() -> None:
    body = "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(5); return 0"
    ignoring = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport os; os.execv(sys.executable, "
    command = f"{ignoring}[sys.executable, '-c', {ENDS.format(body=body)!r}])"
    assert subprocess.run([sys.executable, "-c", command], check=False, timeout=60).returncode == -signal.SIGTERM


def test_nothing_is_taken_apart() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS.format(body=HELD)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
