"""What tests have an engine do with shards: each writes a file, some are bad or slow."""

from __future__ import annotations

import os
import time
from pathlib import Path

from neo_assets.core import records


def write(folder: Path, number: int) -> None:
    """A file with the shard's number; how often it was begun is counted beside it. What the folder ``how`` says is done
    first.
    """
    how = folder / "how"
    with (folder / "begun" / str(number)).open("a") as stream:
        stream.write(f"{os.environ.get('SLURMD_NODENAME') or os.environ.get('NEO_NODE', 'here')}\n")
    if (how / "slow").is_file():
        time.sleep(0.2)
    (folder / "begun" / f"{number}.from").write_text(__file__)
    while (how / "wait").is_file() or (how / f"wait-{number}").is_file():
        time.sleep(0.05)
    if (how / f"fail-{number}").is_file():
        raise ValueError(f"there is something wrong with number {number}")
    if (how / f"die-{number}").is_file():
        os.kill(os.getpid(), 9)
    records.write_text(target(folder, number), str(number))


def target(folder: Path, number: int) -> Path:
    return folder / "made" / f"{number}.txt"


def begun(folder: Path, number: int) -> list[str]:
    """The node of each start of a shard."""
    file = folder / "begun" / str(number)
    return file.read_text().split() if file.is_file() else []
