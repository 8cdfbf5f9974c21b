"""Which process: told apart from one that has its number now, on this host since this boot, or on another.

On Linux by /proc, whose clock ticks no correction of the clock moves; psutil would add them to a time of boot that is
read from the clock, and take a living job for a dead one after a correction. Elsewhere by psutil.
"""

from __future__ import annotations

import functools
import os
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


_told = 0.0


def cpu_seconds_since_told() -> float:
    """Processor time of this process since it was told last; at first, since the process began."""
    global _told
    before, _told = _told, cpu_seconds()
    return _told - before


def host() -> str:
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """What tells one boot of this host from the next: process ids begin anew."""
    if _has_proc():
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    try:  # macOS
        return subprocess.check_output(
            ["sysctl", "-n", "kern.bootsessionuuid"], text=True, stderr=subprocess.DEVNULL
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # what else is asked of a process, when it began, differs between boots


def _has_proc() -> bool:
    return (PROC / "self/stat").exists()


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of its stat; without /proc in hundredths of a second
    since 1970); None for a dead one. Tells a reused pid apart.
    """
    if not _has_proc():
        return _started(pid)
    try:
        fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _started(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if dead else round(100 * process.create_time())
    except psutil.Error:
        return None


def carrying(variable: str, value: str) -> list[int]:
    """Live processes of this machine, but this one, whose environment says so. Others' that cannot be read are none."""
    found = _in_proc(f"{variable}={value}".encode()) if _has_proc() else _by_psutil(variable, value)
    return [pid for pid in found if pid != os.getpid() and start_ticks(pid) is not None]


def _in_proc(wanted: bytes) -> Iterator[int]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue


def _by_psutil(variable: str, value: str) -> Iterator[int]:
    import psutil

    for pid in psutil.pids():
        try:
            if psutil.Process(pid).environ().get(variable) == value:
                yield pid
        except (psutil.Error, OSError):
            continue


def handle(pid: int) -> dict[str, str | int]:
    """How a process is found again: its id and when it began, on which host, since which boot of it."""
    return {"pid": pid, "ticks": start_ticks(pid) or 0, "host": host(), "boot": boot_id()}


def alive(found: dict[str, str | int]) -> bool | None:
    """Whether a process lives; None where that cannot be told, because it is of another host."""
    if found["host"] != host():
        return None
    return found["boot"] == boot_id() and start_ticks(int(found["pid"])) == int(found["ticks"])


def written(found: dict[str, str | int]) -> str:
    """A handle in one line; :func:`read` reads it."""
    return f"{found['pid']} {found['ticks']} {found['boot']} {found['host']}"


def read(text: str) -> dict[str, str | int] | None:
    parts = text.split(" ", 3)
    if len(parts) != 4 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return {"pid": int(parts[0]), "ticks": int(parts[1]), "boot": parts[2], "host": parts[3]}


def mine() -> str:
    """This process."""
    return written(handle(os.getpid()))
