"""What a program in the sandbox can do, cannot do, and when the sandbox refuses to be one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from neo_assets.core.errors import NeoError
from training.sandbox import Limits, Sandbox, SandboxUnavailable

LIMITS = Limits(cpu_s=5, wall_s=10.0, memory_bytes=256 << 20, file_bytes=1 << 20, processes=8, output_bytes=4096)


@pytest.fixture(scope="module")
def sandbox(bubblewrap: Path) -> Sandbox:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEO_BWRAP", str(bubblewrap))
        return Sandbox.open()


@pytest.fixture(autouse=True)
def no_process_survives() -> Iterator[None]:
    before = pid_namespaces()
    yield
    end = time.monotonic() + 1
    while (new := pid_namespaces() - before) and time.monotonic() < end:
        time.sleep(0.01)
    assert not new


def pid_namespaces() -> set[str]:
    """Namespaces of all processes but those that another process of the suite has started, beside this one."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getppid() not in ancestors(int(process.name)):
                found.add(str((process / "ns/pid").readlink()))
        except OSError:
            continue
    return found


def ancestors(pid: int) -> list[int]:
    """Parents of a process, the nearest first, up to this one; whoever lost its parent has only the first of all."""
    found: list[int] = []
    while pid > 1 and pid != os.getpid():
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.partition("PPid:")[2].split()[0])
        found.append(pid)
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_program_sees_the_packages_that_were_asked_for_and_no_other(
    sandbox: Sandbox, bubblewrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_BWRAP", str(bubblewrap))
    with_numpy = Sandbox.open(["numpy"])
    program = "import numpy\nassert numpy.ones((64, 64)).dot(numpy.ones(64))[0] == 64\n"
    assert with_numpy.run(program, LIMITS).status == "passed"
    assert "No module named 'numpy'" in sandbox.run(program, LIMITS).detail
    assert "No module named 'torch'" in with_numpy.run("import torch\n", LIMITS).detail
    with pytest.raises(SandboxUnavailable, match="the tests import the package nonesuch, which is not installed"):
        Sandbox.open(["nonesuch"])


def test_a_program_passes_when_it_reaches_its_end(sandbox: Sandbox) -> None:
    verdict = sandbox.run("def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3\n", LIMITS)
    assert (verdict.status, verdict.detail) == ("passed", "")
    assert 0 < verdict.seconds < LIMITS.wall_s


def test_a_failed_assert_is_named_with_its_line(sandbox: Sandbox) -> None:
    verdict = sandbox.run("x = 1\nassert x == 2, 'not two'\n", LIMITS)
    assert (verdict.status, verdict.detail) == ("failed", "AssertionError: not two (line 2)")


def test_a_program_that_is_no_python_fails(sandbox: Sandbox) -> None:
    for program in ("def f(:", "\0", "'\ud800'"):
        assert sandbox.run(program, LIMITS).status == "failed"


@pytest.mark.parametrize(
    "leave",
    ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "import os; os.kill(os.getpid(), 15)"],
)
def test_leaving_before_the_asserts_is_no_pass(sandbox: Sandbox, leave: str) -> None:
    assert sandbox.run(f"{leave}\nassert False", LIMITS).status in ("failed", "crashed")


def test_only_the_program_itself_passes_or_fails_and_no_child_of_it(sandbox: Sandbox) -> None:
    parent_fails = sandbox.run("import os\nif os.fork():\n    os.wait()\n    raise ValueError\n", LIMITS)
    child_fails = sandbox.run("import os\nif os.fork() == 0:\n    raise ValueError\nos.wait()", LIMITS)
    assert (parent_fails.status, parent_fails.detail, child_fails.status) == ("failed", "ValueError (line 4)", "passed")


def test_a_program_sees_itself_as_the_main_module(sandbox: Sandbox) -> None:
    program = "from __future__ import annotations\nfrom dataclasses import dataclass\nimport pickle, sys\n"
    program += "@dataclass\nclass Point:\n    x: int\n"
    program += (
        "assert pickle.loads(pickle.dumps(Point(1))) == Point(1)\nassert __name__ == '__main__' and len(sys.argv) =="
        " 1\ntry:\n    input()\nexcept EOFError:\n    pass"
    )
    assert sandbox.run(program, LIMITS).status == "passed"


def test_a_program_may_be_in_any_script_and_longer_than_a_pipe(sandbox: Sandbox) -> None:
    program = f"问候 = '你好，世界 🌍'\nassert len(问候) == 7\nassert len('{'长' * 100_000}') == 100_000\nprint(问候)"
    assert sandbox.run(program, LIMITS).status == "passed"


def test_an_endless_loop_ends_at_the_limit_of_cpu_time(sandbox: Sandbox) -> None:
    verdict = sandbox.run("while True: pass", replace(LIMITS, cpu_s=1))
    assert (verdict.status, verdict.detail) == ("timeout", "more than 1 s of CPU time")


def test_a_sleeping_program_and_its_children_end_at_the_limit_of_time(sandbox: Sandbox) -> None:
    verdict = sandbox.run(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(60)", replace(LIMITS, wall_s=0.3)
    )
    assert (verdict.status, verdict.detail) == ("timeout", "more than 0.3 s")
    assert verdict.seconds < 5


def test_a_program_that_wants_too_much_memory_is_refused_it(sandbox: Sandbox) -> None:
    for program in ("bytearray(1 << 30)", "all = []\nwhile True: all.append(bytearray(1 << 20))"):
        assert sandbox.run(program, LIMITS).status == "memory"


def test_a_fork_bomb_stays_within_the_limit_of_processes(sandbox: Sandbox) -> None:
    program = (
        "import os, time\nmade = 0\ntry:\n    while made < 100:\n        if os.fork() == 0:\n           "
        " time.sleep(60)\n        made += 1\nexcept BlockingIOError:\n    pass\n"
    )
    assert sandbox.run(f"{program}assert made == {LIMITS.processes - 1}, made", LIMITS).detail in (
        "",
        "AssertionError: 0 (line 10)",
    )
    assert sandbox.run("import os\nwhile True: os.fork()", LIMITS).status == "failed"


def test_sandboxes_side_by_side_do_not_share_the_limit_of_processes(sandbox: Sandbox) -> None:
    program = "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        time.sleep(60)\ntime.sleep(0.3)"
    assert {verdict.status for verdict in sandbox.run_many([program] * 4, LIMITS, 4)} == {"passed"}


def test_output_without_end_fills_nothing_and_hangs_nothing(sandbox: Sandbox) -> None:
    for stream in ("stdout", "stderr"):
        verdict = sandbox.run(f"import sys\nwhile True: sys.{stream}.write('x' * 100_000)", replace(LIMITS, wall_s=0.5))
        assert verdict.status == "timeout" and len(verdict.detail) < 100
    assert (
        sandbox.run("import sys\nfor _ in range(100): print('x' * 100_000, file=sys.stderr)", LIMITS).status == "passed"
    )
    assert len(sandbox.run("raise ValueError('x' * 1_000_000)", LIMITS).detail) < 3000


def test_files_can_be_written_to_the_working_folder_only_and_within_the_limit(sandbox: Sandbox) -> None:
    assert (
        sandbox.run("open('mine', 'w').write('x')\nassert open('/tmp/mine').read() == 'x'", LIMITS).status == "passed"
    )
    assert sandbox.run("import os\nassert os.listdir('.') == []", LIMITS).status == "passed", (
        "left by the program before"
    )
    for folder in ("/", "/usr/lib", "/dev", "/proc", "/proc/self", str(sandbox.python.parent), str(Path.home())):
        assert sandbox.run(f"open({folder + '/theirs'!r}, 'w')", LIMITS).status == "failed", folder
    large = sandbox.run(f"with open('large', 'wb') as file:\n    file.write(bytes({LIMITS.file_bytes + 1}))", LIMITS)
    many = sandbox.run(
        "for n in range(1000):\n    with open(str(n), 'wb') as file:\n        file.write(bytes(100_000))", LIMITS
    )
    assert large.detail.startswith("OSError: [Errno 27]") and many.detail.startswith("OSError: [Errno 28]")


def test_no_file_of_this_machine_can_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    paths = [
        "/etc/passwd",
        "/etc/hostname",
        "/bin/sh",
        "/usr/bin/env",
        "/sys/kernel",
        __file__,
        str(tmp_path / "secret"),
    ]
    paths += [str(each) for each in Path.home().iterdir() if each not in sandbox.python.parents]
    paths += [f"/proc/{os.getpid()}/status"]
    assert (
        sandbox.run(
            f"import os\nseen = [path for path in {paths} if os.path.exists(path)]\nassert not seen, seen", LIMITS
        ).detail
        == ""
    )


def test_no_variable_of_the_caller_can_be_read(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_SECRET", "do-not-tell")
    program = (
        "import glob, os\nsaid = str(os.environ)\nfor file in glob.glob('/proc/[0-9]*/environ'):\n    said +="
        " open(file).read()\n"
    )
    assert (
        sandbox.run(f"{program}assert 'HOME' in said\nassert 'do-not' + '-tell' not in said, said", LIMITS).detail == ""
    )


def test_no_server_of_this_machine_can_be_reached(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        port, name = server.getsockname()[1], f"\0neofoundry-{os.getpid()}"
        local.bind(name)
        local.listen()
        socket.create_connection(("127.0.0.1", port)).close()
        assert (
            "ConnectionRefusedError"
            in sandbox.run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)", LIMITS).detail
        )
        assert (
            "ConnectionRefusedError"
            in sandbox.run(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})", LIMITS).detail
        )


def test_a_program_can_kill_neither_its_parent_nor_its_caller(sandbox: Sandbox) -> None:
    pids = (os.getpid(), os.getppid())
    program = (
        f"import os, signal\nfor pid in {pids}:\n    try:\n        os.kill(pid, 9)\n    except ProcessLookupError:\n   "
        "     pass\nos.kill(os.getppid(), 9)\nos.kill(1, 15)"
    )
    assert sandbox.run(program, LIMITS).status == "passed"


def test_a_process_left_in_the_background_dies_with_the_program(sandbox: Sandbox) -> None:
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    for file in (0, 1, 2):\n        os.close(file)\n   "
        " time.sleep(60)"
    )
    verdict = sandbox.run(program, LIMITS)
    assert verdict.status == "passed" and verdict.seconds < 5


def test_a_program_dies_with_a_caller_that_is_killed(sandbox: Sandbox, bubblewrap: Path) -> None:
    code = (
        "from tests.training.test_sandbox import LIMITS, Sandbox; Sandbox.open().run('import time; print();"
        " time.sleep(60)', LIMITS)"
    )
    before = pid_namespaces()
    caller = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "NEO_BWRAP": str(bubblewrap)}, cwd=Path(__file__).parents[2]
    )
    try:
        end, seen_for = time.monotonic() + 30, 0
        while seen_for < 20 and time.monotonic() < end:  # longer than the program that `open` runs
            seen_for = seen_for + 1 if pid_namespaces() - before else 0
            time.sleep(0.05)
        assert seen_for == 20
    finally:
        caller.kill()
        caller.wait()


def test_a_crash_is_told_by_its_signal(sandbox: Sandbox) -> None:
    verdict = sandbox.run("import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos.abort()", LIMITS)
    assert (verdict.status, verdict.detail) == ("crashed", f"{signal.SIGABRT.name} last words")


def test_many_programs_keep_their_order(sandbox: Sandbox) -> None:
    verdicts = sandbox.run_many([f"assert {n} % 3" for n in range(12)], LIMITS, workers=4)
    assert [verdict.status == "failed" for verdict in verdicts] == [n % 3 == 0 for n in range(12)]


def test_running_leaves_no_file_and_no_thread_open(sandbox: Sandbox) -> None:
    sandbox.run("", LIMITS)
    before = open_files(), threading.active_count()
    sandbox.run_many(["", "raise ValueError", "import os; os._exit(3)"], LIMITS, workers=3)
    assert (open_files(), threading.active_count()) == before


def test_a_missing_bubblewrap_is_named_and_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEO_BWRAP", str(tmp_path / "nowhere"))
    with pytest.raises(NeoError, match=r"NEO_BWRAP names .*nowhere, which is no program: apt install bubblewrap"):
        Sandbox.open()
    monkeypatch.delenv("NEO_BWRAP")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed: apt install bubblewrap"):
        Sandbox.open()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
            r"uid map: Permission denied.*kernel.unprivileged_userns_clone=1",
        ),
        ("echo 'bwrap: Unknown option --disable-userns' >&2; exit 1", r"0.8 or newer.*--disable-userns"),
        ("exit 0", "cannot start a program here. It says: nothing, exit code 0"),
        (
            'for word; do [ "$word" = -- ] && last=$n; n=$((n + 1)); done; shift "$((last + 1))"; exec "$@"',
            "Missing: a user of its own; .*a network without routes; a loopback of its own; .*a read-only file system",
        ),
    ],
    ids=["refused by the kernel", "too old", "silent", "isolates nothing"],
)
def test_a_bubblewrap_that_does_not_work_is_refused_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(f"#!/bin/sh\nn=0\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("NEO_BWRAP", str(fake))
    with pytest.raises(SandboxUnavailable, match=reason):
        Sandbox.open()
