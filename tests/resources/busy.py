"""Work that takes so many processor seconds: what an engine adds to it is measured by `benchmarks.engine_overhead`."""

from __future__ import annotations

import time
from pathlib import Path

from neo_assets.core import records


def busy(folder: Path, seconds: float, number: int) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    records.write_text(target(folder, number), str(seconds))


def target(folder: Path, number: int) -> Path:
    return folder / f"{number}.txt"
