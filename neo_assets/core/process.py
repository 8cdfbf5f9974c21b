"""Which process: told apart from one that has its number now, on this host since this boot, or on another. Linux only:
it reads /proc.
"""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path


def host() -> str:
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """What tells one boot of this host from the next: process ids begin anew."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of its stat); None for a dead one. Tells a reused pid
    apart.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


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
