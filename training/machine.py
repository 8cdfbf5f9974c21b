"""Which machine a job runs on: what decides whether its bits can be had again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """What a run's bits depend on besides recipe, code and libraries."""

    device: str  # GPU, or CPU with its instruction set
    attention: str
    world_size: int
    threads_per_rank: int
    deterministic: bool

    def plain(self) -> dict[str, object]:
        return asdict(self)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with the instruction set that torch uses."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_cpu_model()} ({torch.backends.cpu.get_cpu_capability()})"


def differences(before: dict[str, object], now: dict[str, object]) -> list[str]:
    """What differs between the machine of a checkpoint and this one, in words."""
    return [
        f"{name.replace('_', ' ')} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in now
        if before.get(name) != now.get(name)
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return os.uname().machine
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), os.uname().machine)
