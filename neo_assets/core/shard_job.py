"""A call over many shards as a job of a cluster, as it lies on disk: tasks that know nothing of each other.

The job's folder holds, besides what every job's does (``jobs.py``):

    call.pickle                       the function and its shards, as ``run_shards`` was called
    targets.json                      the file that each shard's work writes last, relative to the store
    attempts/0001/ranks.json          what was left when the attempt was started: numbers of shards, a list a rank
    attempts/0001/told/00007.jsonl    what a rank did, in its order; it alone writes there
    attempts/0001/failed/00012.txt    why a shard failed
    attempts/0001/log-7.txt           what a task printed

Which files exist decides what is done. What ranks tell is for people, for the time that was used, and for the order of
the next attempt: a shard that took a rank down with it comes after all others, so that it keeps none from being done.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neo_assets.core import records
from neo_assets.core.jobs import TARGETS, JobFolder
from neo_assets.core.shards import Call, missing

PROGRAM = "neo_assets.core.shard_tasks"
CALL = "call.pickle"
TASK, CPUS, MINUTES = "NEO_TASK", "NEO_TASK_CPUS", "NEO_TASK_MINUTES"
"""Variables of a task: its number, its processes, and its time limit (none: no limit)."""
SHOWN = 10
"""Shards that failed which are named; there may be more."""


# ------------------------------------------------------------------ what a call is, on disk


def write_call(folder: JobFolder, call: Call[Any]) -> None:
    """Have the job hold what it is to do."""
    targets = [target.relative_to(folder.root).as_posix() for target in call.targets]
    aside = records.aside_of(folder.path / CALL)
    aside.write_bytes(pickle.dumps((call.work, list(call.shards))))
    records.fsync_rename(aside, folder.path / CALL)
    records.write_text(folder.path / TARGETS, json.dumps(targets))


def attempt_folder(folder: JobFolder, number: int) -> Path:
    return folder.path / "attempts" / f"{number:04d}"


def plan(folder: JobFolder, number: int, ranks: int) -> int:
    """Share out what is left among at most so many ranks of a new attempt; returns how many there are."""
    left, told = missing(folder.targets()), progress(folder)
    ends = [n for n in left if n in told.unfinished or n in told.failed]
    first = [n for n in left if n not in set(ends)]
    ranks = max(1, min(ranks, len(left)))
    shares: list[list[int]] = [first[i::ranks] for i in range(ranks)]
    for i, shard in enumerate(ends):
        shares[-1 - i % ranks].append(shard)
    records.write_text(attempt_folder(folder, number) / "ranks.json", json.dumps(shares))
    return ranks


# ------------------------------------------------------------------ what ranks tell


@dataclass
class Progress:
    """What the ranks of all attempts told. ``seconds`` are those of processes, not of the clock."""

    shards: int
    done: set[int] = field(default_factory=set)
    failed: dict[int, Path] = field(default_factory=dict)  # in the last attempt that came to it
    unfinished: set[int] = field(default_factory=set)  # begun by a rank that told no end of it
    started: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0

    def failures(self) -> list[str]:
        """The first shards that failed, each with the last line of its error and where the rest of it is."""
        lines = [f"shard {n}: {_last_line(file)} ({file})" for n, file in sorted(self.failed.items())[:SHOWN]]
        lines += [f"shard {n}: its process was gone before it ended" for n in sorted(self.unfinished)][
            : SHOWN - len(lines)
        ]
        rest = len(self.failed) + len(self.unfinished) - len(lines)
        return [*lines, f"and {rest} more"] if rest > 0 else lines


def progress(folder: JobFolder) -> Progress:
    """What the ranks have told so far."""
    out = Progress(len(folder.targets()))
    for attempt in sorted(p for p in (folder.path / "attempts").glob("*") if p.is_dir()):
        for file in sorted((attempt / "told").glob("*.jsonl")):
            for row in _rows(file):
                number = row["shard"]
                out.first_at, out.last_at = min(out.first_at or row["at"], row["at"]), max(out.last_at, row["at"])
                if row["what"] == "begin":
                    out.started += 1
                    out.unfinished.add(number)
                    continue
                out.unfinished.discard(number)
                out.seconds += row["seconds"]
                out.cpu_seconds += row["cpu"]
                if row["what"] == "done":
                    out.done.add(number)
                else:
                    out.failed[number] = attempt / "failed" / f"{number:05d}.txt"
    out.failed = {n: file for n, file in out.failed.items() if n not in out.done}
    out.unfinished -= out.done
    return out


def story(folder: JobFolder) -> Iterator[str]:
    """What happened, in the order of time: a line for each file that was finished or failed, with where it is told."""
    targets, rows = folder.targets(), list[tuple[float, str]]()
    for attempt in folder.attempts():
        place = attempt_folder(folder, attempt.number)
        shares = len(json.loads((place / "ranks.json").read_text(encoding="utf-8")))
        rows.append((attempt.started_at, f"--- attempt {attempt.number} on {attempt.backend}, {shares} ranks; {place}"))
        for file in sorted((place / "told").glob("*.jsonl")):
            for row in _rows(file):
                name = targets[row["shard"]].name
                if row["what"] == "done":
                    rows.append(
                        (row["at"], f"shard {row['shard']} ({name}) in {row['seconds']:.1f} s, rank {file.stem}")
                    )
                elif row["what"] == "failed":
                    why = place / "failed" / f"{row['shard']:05d}.txt"
                    rows.append((row["at"], f"shard {row['shard']} ({name}) failed: {_last_line(why)} ({why})"))
    for at, line in sorted(rows):
        yield f"{time.strftime('%H:%M:%S', time.localtime(at))}  {line}"


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").strip().splitlines() if file.is_file() else []
    return lines[-1] if lines else "?"


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_bytes().split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue  # torn by a kill, then continued by the next start's first line
