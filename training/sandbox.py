"""Running programs that a language model wrote, inside bubblewrap: no network, no files but a Python, no process but
their own.

One program costs about 30 ms beside its own work, 40 ms when root calls: the price of fresh namespaces and a fresh
interpreter for each, so that none can see what another left. What remains possible is written here, so that nobody
trusts it with more:

* A program that searches its own interpreter can find the pipe on which its verdict leaves and forge "passed". The
  nonce is there against accidents (``sys.exit(0)`` before the asserts), not against a model that was trained to cheat.
* Memory is limited per process, not per program, because that needs no cgroup: the worst is about ``processes`` times
  ``memory_bytes``, and shared memory (memfd, System V) is outside of it. A machine that scores a hostile model should
  put the job itself into a cgroup; Slurm does.
* The kernel is shared. A program that breaks the kernel breaks out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from neo_assets.core.errors import MachineLacks

NOBODY = 65534
"""The user and group a program sees itself as; as root's, also the real ones, because the kernel limits no process
count of root's.
"""

OPEN_FILES = 64
START_SECONDS = 60.0
"""How long bubblewrap and the interpreter may take on a loaded machine before the machine, not the
program, is blamed.
"""
GRACE_SECONDS = 5.0
"""How long after its time the guard in the sandbox may take to end a program before it is ended from outside."""
LOOK_SECONDS = 0.05
"""How often a running program is looked at; that its pipes close tells its end sooner."""

DEVICES = (Path("/dev/null"), Path("/dev/urandom"))
SYSTEM_LIBRARIES = (Path("/usr/lib"), Path("/usr/lib64"), Path("/lib"), Path("/lib64"))

BOOTSTRAP = """
import os, resource, select, signal, sys, time

def guard(child, nonce, report, wall_s):
    end, caller = time.monotonic() + wall_s, select.poll()
    caller.register(nonce, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        left = end - time.monotonic()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if left <= 0:
            os.write(report, b"timeout")
        if left <= 0 or caller.poll(0):
            os._exit(0)
        if pid == 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.1))

def run(program, nonce, report, limits, getpid, read, write, leave):
    pid = getpid()
    with open(program, "rb") as file:
        text = file.read().decode("utf-8", "surrogatepass")
    for name, value in zip(("AS", "FSIZE", "NPROC", "NOFILE", "CORE"), limits[1:]):
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits[0], limits[0] + 1))
    sys.argv = [""]
    bootstrap, sys.modules["__main__"] = sys.modules["__main__"], type(sys)("__main__")
    try:
        exec(compile(text, "<program>", "exec", dont_inherit=True), sys.modules["__main__"].__dict__)
    except MemoryError:
        answer = b"memory"
    except BaseException as error:
        line, step = 0, error.__traceback__
        while step:
            line, step = step.tb_lineno if step.tb_frame.f_code.co_filename == "<program>" else line, step.tb_next
        try:
            said = ": " + str(error) if str(error) else ""
        except BaseException:
            said = ""
        answer = f"failed {type(error).__name__}{said[:2000]}{f' (line {line})' if line else ''}".encode("utf-8", "replace")
    else:
        answer = b"passed " + read(nonce, 64)
    if getpid() == pid:
        write(report, answer)
    leave(0)

sys.path += filter(None, sys.argv[2].split(os.pathsep))
program, nonce, report, *limits = map(int, sys.argv[3:])
os.write(report, b"+")
child = os.fork()
if child:
    os.close(program)
    guard(child, nonce, report, float(sys.argv[1]))
else:
    run(program, nonce, report, limits, os.getpid, os.read, os.write, os._exit)
"""  # noqa: E501
"""What the interpreter runs: process 1 of the sandbox, which the program cannot kill and which takes all others with
it, and the program, its child.

The nonce is taken from its pipe only when the program has come to its end, and a child of the program may not report.
That the pipe has no writer any more tells the guard that the caller is gone.
"""

PROBE = """
import os, socket

lacks = []

def check(holds, what):
    if not holds:
        lacks.append(what)

with open("/proc/self/status") as file:
    status = dict(line.split(":\\t", 1) for line in file)
check({os.getuid(), os.geteuid(), os.getgid(), os.getegid()} == {outside["user"]}, "a user of its own")
check(not any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), "a process without capabilities")
check(int(status["NoNewPrivs"]) == 1, "a process that gains no privileges")
check({name for name in os.listdir("/proc") if name.isdigit()} == {"1", str(os.getpid())}, "a /proc with its own processes only")
with open("/proc/net/route") as file:
    check(len(file.readlines()) <= 1, "a network without routes")
try:
    socket.create_connection(("127.0.0.1", outside["port"]), 1).close()
    check(False, "a loopback of its own")
except OSError:
    pass
for folder, allowed in outside["hidden"].items():
    check(not os.path.isdir(folder) or set(os.listdir(folder)) <= set(allowed), f"a file system without {folder}")
with open("/proc/self/mountinfo") as file:
    mounts = [(line.split()[4], line.split()[5].split(",")) for line in file]
inside = lambda point: any(point == each or point.startswith(each + "/") for each in outside["shown"])
check(all(point == "/" or inside(point) for point, _ in mounts), "a file system with nothing but an interpreter")
check(all("ro" in options or point in outside["writable"] for point, options in mounts), "a read-only file system")
disk = os.statvfs("/tmp")
check(disk.f_blocks * disk.f_frsize <= outside["file_bytes"], "a limit on files")
try:
    bytearray(outside["memory_bytes"])
    check(False, "a limit on memory")
except MemoryError:
    pass
children = 0
try:
    while children < outside["processes"]:
        if os.fork() == 0:
            os._exit(0)
        children += 1
except OSError:
    pass
check(children < outside["processes"], "a limit on processes")
for _ in range(children):
    os.wait()
assert not lacks, "; ".join(lacks)
"""  # noqa: E501

ALLOW_NAMESPACES = (
    "If this kernel refuses unprivileged user namespaces, an administrator allows them with: sysctl"
    " kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu),"
    " user.max_user_namespaces=10000 (Red Hat). A container must be started with the right to make user namespaces and"
    " with an unmasked /proc."
)

Status = Literal["passed", "failed", "timeout", "memory", "crashed"]


class SandboxUnavailable(MachineLacks):
    """No program can be run safely on this machine, or not now; the message says what is missing. Nothing is ever run
    without a sandbox instead.
    """


@dataclass(frozen=True)
class Limits:
    """What one program may use. A child process has the limits of its own process again, but ``processes`` and
    ``wall_s`` hold for all together.
    """

    cpu_s: int
    wall_s: float
    """Counted from the program's first statement, so that a slow start on a loaded machine fails nobody."""
    memory_bytes: int
    """Address space of one process; the interpreter alone takes about 15 MB."""
    file_bytes: int
    """Of one file, and of all files together."""
    processes: int
    """Processes and threads, the program itself included. Before Linux 5.14 the caller's other processes count, too, so
    that none may be made.
    """
    output_bytes: int
    """How much of the end of stderr is kept to explain a crash; the rest, and all of stdout, is thrown away as it
    comes.
    """


@dataclass(frozen=True)
class Verdict:
    """What became of a program.

    ``passed``: it reached its end. ``failed``: it raised, or left before its end with whatever exit code. ``memory``:
    it raised MemoryError. ``timeout``: of CPU or wall-clock time. ``crashed``: a signal ended it.
    """

    status: Status
    detail: str
    seconds: float
    """From the program's first statement to the end of its last process."""


@dataclass(frozen=True)
class Sandbox:
    """A bubblewrap and an interpreter that were seen to work together; made by `open`. Safe to use
    from many threads.
    """

    bwrap: Path
    python: Path
    shown: tuple[Path, ...]
    """All that a program sees of this machine, read-only: the interpreter, its standard library, the system's shared
    libraries, the packages.
    """
    search: tuple[Path, ...] = ()
    """Folders in which the interpreter finds the packages."""

    @classmethod
    def open(cls, packages: Sequence[str] = ()) -> Self:
        """Looks for bubblewrap on PATH or in NEO_BWRAP, and runs a program in it that tries what must not be possible.

        Programs can import these ``packages`` of this environment and no other.

        Raises SandboxUnavailable, which names what is missing.
        """
        named = os.environ.get("NEO_BWRAP")
        found = shutil.which(named or "bwrap")
        if found is None:
            why = f"NEO_BWRAP names {named}, which is no program" if named else "bubblewrap is not installed"
            raise SandboxUnavailable(
                f"{why}: apt install bubblewrap (Linux only, 0.8 or newer), or name its bwrap in NEO_BWRAP."
            )
        prefix, python = (
            Path(sys.base_prefix).resolve(),
            Path(getattr(sys, "_base_executable", sys.executable)).resolve(),
        )
        places = [_package(name) for name in packages]
        wanted = (
            python,
            prefix / "lib",
            prefix / "lib64",
            *SYSTEM_LIBRARIES,
            *(p for place in places for p in (place, place.with_name(f"{place.name}.libs"))),
        )
        shown = tuple(dict.fromkeys(path for path in wanted if path.exists()))
        sandbox = cls(Path(found).resolve(), python, shown, tuple(dict.fromkeys(place.parent for place in places)))
        sandbox._probe()
        return sandbox

    def run_many(self, programs: Sequence[str], limits: Limits, workers: int) -> list[Verdict]:
        """`run` for each, ``workers`` at a time; the verdicts have the order of the programs."""
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda program: self.run(program, limits), programs))

    def run(self, program: str, limits: Limits) -> Verdict:
        """Runs ``program`` as ``__main__`` of an isolated interpreter that has the standard library, and the packages
        it was opened with.

        When it returns, no process of the program is left. Raises SandboxUnavailable when bubblewrap or the interpreter
        did not start: that says nothing about the program.
        """
        nonce = secrets.token_hex(16).encode()
        with ExitStack() as closing, ExitStack() as handed_on:
            source = closing.enter_context(tempfile.TemporaryFile())
            source.write(program.encode("utf-8", "surrogatepass"))
            source.seek(0)
            (nonce_out, nonce_in), (report_out, report_in), (errors_out, errors_in) = (os.pipe() for _ in range(3))
            for end in (nonce_in, report_out, errors_out):
                closing.callback(os.close, end)
            for end in (nonce_out, report_in, errors_in):
                handed_on.callback(os.close, end)
            os.write(nonce_in, nonce)
            passed_on, quiet = (source.fileno(), nonce_out, report_in), subprocess.DEVNULL
            command = self._command(limits, *passed_on)
            try:
                child = subprocess.Popen(
                    command, stdin=quiet, stdout=quiet, stderr=errors_in, cwd="/", pass_fds=passed_on, process_group=0
                )
            except OSError as error:
                raise SandboxUnavailable(f"{command[0]} cannot be run: {error}") from error
            handed_on.close()
            try:
                report, errors, begun, in_time = _watch(child, report_out, errors_out, limits)
            finally:
                if child.returncode is None:
                    os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
        seconds, said = time.monotonic() - begun, errors.decode(errors="replace").strip()
        if not report.startswith(b"+"):
            raise SandboxUnavailable(self._why_not_started(said, code, in_time))
        if not in_time or report[1:] == b"timeout":
            return Verdict("timeout", f"more than {limits.wall_s:g} s", seconds)
        return Verdict(*_verdict(report[1:], nonce, code, said, limits), seconds)

    def _command(self, limits: Limits, source: int, nonce: int, report: int) -> list[str]:
        """bubblewrap's command line; for root a second bubblewrap around it, which only makes the interpreter reachable
        for nobody.
        """
        devices = ["--dir", "/dev", *(word for path in DEVICES for word in ("--dev-bind", str(path), str(path)))]
        command: list[str] = []
        if os.geteuid() == 0:
            setpriv = Path(shutil.which("setpriv") or "/usr/bin/setpriv").resolve()
            command = [
                str(self.bwrap),
                "--die-with-parent",
                *_read_only((*self.shown, self.bwrap, setpriv)),
                "--bind",
                "/proc",
                "/proc",
                *devices,
            ]
            command += ["--", str(setpriv), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        command += [
            str(self.bwrap),
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--uid",
            str(NOBODY),
            "--gid",
            str(NOBODY),
        ]
        command += [
            "--as-pid-1",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
            "--hostname",
            "sandbox",
            "--clearenv",
        ]
        command += [
            "--setenv",
            "LD_LIBRARY_PATH",
            str(self.python.parents[1] / "lib"),
            "--setenv",
            "HOME",
            "/tmp",
            "--setenv",
            "OPENBLAS_NUM_THREADS",
            "1",
        ]
        command += [
            "--size",
            str(limits.file_bytes),
            "--tmpfs",
            "/tmp",
            *_read_only(self.shown),
            "--proc",
            "/proc",
            *devices,
        ]
        command += ["--remount-ro", "/proc", "--remount-ro", "/", "--chdir", "/tmp", "--"]
        command += [
            str(self.python),
            "-I",
            "-S",
            "-B",
            "-X",
            "utf8",
            "-c",
            BOOTSTRAP,
            str(limits.wall_s),
            os.pathsep.join(map(str, self.search)),
            *map(str, (source, nonce, report)),
        ]
        # One process more than the program's: its guard.
        numbers = (limits.cpu_s, limits.memory_bytes, limits.file_bytes, limits.processes + 1, OPEN_FILES, 0)
        return [*command, *map(str, numbers)]

    def _probe(self) -> None:
        limits = Limits(
            cpu_s=10, wall_s=START_SECONDS, memory_bytes=256 << 20, file_bytes=1 << 20, processes=8, output_bytes=4096
        )
        shown = [*self.shown, *DEVICES, Path("/proc"), Path("/tmp")]
        hidden = {
            str(folder): [path.relative_to(folder).parts[0] for path in shown if folder in path.parents]
            for folder in (Path.home(), Path.cwd())
        }
        with socket.create_server(("127.0.0.1", 0)) as server:
            outside = {
                "user": NOBODY,
                "port": server.getsockname()[1],
                "hidden": hidden,
                "shown": list(map(str, shown)),
                "writable": ["/tmp", *map(str, DEVICES)],
                **{name: getattr(limits, name) for name in ("memory_bytes", "file_bytes", "processes")},
            }
            verdict = self.run(f"outside = {json.dumps(outside)}\n{PROBE}", limits)
        if verdict.status != "passed":
            lacks = verdict.detail.removeprefix("AssertionError: ")
            raise SandboxUnavailable(
                f"{self.bwrap} starts programs here but does not shut them in. Missing: {lacks} ({verdict.status})."
            )

    def _why_not_started(self, said: str, code: int, in_time: bool) -> str:
        if not in_time:
            return (
                f"{self.bwrap} did not start a program within {START_SECONDS:g} s: the machine is overloaded, or what"
                f" is said here hangs: {said}"
            )
        if "nknown option" in said:
            return f"{self.bwrap} is too old, bubblewrap 0.8 or newer is needed. It says: {said}"
        if not said:
            said = f"nothing, exit code {code}"
        if "setpriv" in said:
            return (
                f"The program setpriv, which root needs to become nobody, does not work: {said}. It belongs to the"
                " package util-linux."
            )
        return f"{self.bwrap} cannot start a program here. It says: {said}. {ALLOW_NAMESPACES}"


def _package(name: str) -> Path:
    """Folder of an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxUnavailable(f"the tests import the package {name}, which is not installed: pip install {name}.")
    return Path(spec.submodule_search_locations[0])


def _watch(
    child: subprocess.Popen[bytes], report_out: int, errors_out: int, limits: Limits
) -> tuple[bytes, bytes, float, bool]:
    """Reads both pipes until the process ends or its time is over: the report, the end of stderr, when the program
    began, whether it was in time.
    """
    report, errors, begun, deadline = b"", b"", time.monotonic(), time.monotonic() + START_SECONDS
    poll = select.poll()
    for pipe in (report_out, errors_out):
        os.set_blocking(pipe, False)
        poll.register(pipe, select.POLLIN)
    over = False
    while not over and time.monotonic() < deadline:
        poll.poll(LOOK_SECONDS * 1e3)
        over = child.poll() is not None
        with suppress(BlockingIOError):
            heard = os.read(report_out, 1 << 16)
            if not report:
                begun = time.monotonic()
                deadline = begun + limits.wall_s + GRACE_SECONDS
            report = (report + heard)[: 1 << 14]
        with suppress(BlockingIOError):
            errors = (errors + os.read(errors_out, 1 << 16))[-limits.output_bytes :]
    return report, errors, begun, over


def _verdict(report: bytes, nonce: bytes, code: int, said: str, limits: Limits) -> tuple[Status, str]:
    """What a program that ended by itself deserves."""
    if report == b"passed " + nonce and code == 0:
        return "passed", ""
    if report == b"memory" or (not report and "MemoryError" in said):
        return "memory", f"more than {limits.memory_bytes} bytes"
    if report.startswith(b"failed "):
        return "failed", report.removeprefix(b"failed ").decode(errors="replace")
    last = said.splitlines()[-1] if said else ""
    if code == 128 + signal.SIGXCPU:
        return "timeout", f"more than {limits.cpu_s} s of CPU time"
    if code > 128:
        with suppress(ValueError):
            return "crashed", f"{signal.Signals(code - 128).name} {last}".strip()
    return "failed", f"left with exit code {code} before its end. {last}".strip()


def _read_only(paths: Sequence[Path]) -> list[str]:
    """Options that show ``paths`` where they are; their parents by name, because bubblewrap would make those for its
    own user only.
    """
    parents = {parent for path in paths for parent in path.parents if parent != Path("/")}
    words = [word for parent in sorted(parents, key=lambda each: len(each.parts)) for word in ("--dir", str(parent))]
    for path in paths:
        words += (
            ["--symlink", str(path.readlink()), str(path)] if path.is_symlink() else ["--ro-bind", str(path), str(path)]
        )
    return words
