"""Energy of a node while a job runs: the CPU packages' RAPL counters and the GPUs' NVML counters, where the machine has
them and lets us read them.
"""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules since it was made; None where nothing can be measured. Never a guess."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = [
            p
            for p in sorted(powercap.glob("intel-rapl:*"))
            if p.name.count(":") == 1 and _read(p / "energy_uj") is not None
        ]
        self._gpus = _nvml()
        self._last = {p: _read(p / "energy_uj") or 0 for p in self._packages}
        self._microjoules = 0
        self._begun = [gpu() for gpu in self._gpus]

    @property
    def sources(self) -> str:
        """What is measured, in words."""
        parts = ([f"RAPL, {len(self._packages)} package(s)"] if self._packages else []) + (
            [f"NVML, {len(self._gpus)} GPU(s)"] if self._gpus else []
        )
        return " and ".join(parts) or "not measured"

    def joules(self) -> float | None:
        """Read often enough: a package's counter wraps after some minutes at full load, and one wrap between two reads
        is counted right.
        """
        if not self._packages and not self._gpus:
            return None
        for package in self._packages:
            now = _read(package / "energy_uj") or self._last[package]
            grown = now - self._last[package]
            self._microjoules += grown if grown >= 0 else grown + (_read(package / "max_energy_range_uj") or 0)
            self._last[package] = now
        gpus: float = sum(gpu() - begun for gpu, begun in zip(self._gpus, self._begun, strict=True)) / 1e3
        return float(self._microjoules / 1e6 + gpus)


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _nvml() -> list:  # type: ignore[type-arg]
    """A function per GPU that this process sees, which reads its counter in millijoules."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no driver, no right, or a GPU without the counter: all the same here
        return []
    return [lambda handle=handle: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
