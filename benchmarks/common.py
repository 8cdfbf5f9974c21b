"""What the comparisons share: real documents, fair timing, and one way of printing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.jobs import JobFolder, JobSpec
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from resources.compute.local import LocalCompute

T = TypeVar("T")


def run_job(spec: JobSpec, root: Path) -> JobFolder:
    """Run a job to its end on this machine, below ``root``, as the factory would."""
    compute = LocalCompute(root)
    folder = compute.submit(spec)
    for _ in compute.follow(folder):
        pass
    return folder


def documents(lang: str) -> pa.Table:
    """Real documents of a language, as extracted, of the recipe's build."""
    recipe = load()
    store = Store(store_root())
    tables = [
        records.read_table(p, records.DOCUMENT)
        for name in recipe.sources
        for p in store.head(recipe.name, f"documents/{name}").files(records.PART)
    ]
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    return table.filter(pc.equal(table.column("lang"), lang)).sort_by("doc_id")


def texts(lang: str) -> list[str]:
    return [t for t in documents(lang).column("text").to_pylist() if t.strip()]


def megabytes(some: Sequence[str]) -> float:
    return sum(len(t.encode()) for t in some) / 1e6


def best(work: Callable[[], T], passes: int = 3) -> tuple[float, T]:
    """(processor seconds of the fastest pass, its result). One pass before is not counted: it compiles."""
    result = work()
    seconds = []
    for _ in range(passes):
        begin = time.process_time()
        result = work()
        seconds.append(time.process_time() - begin)
    return min(seconds), result


def once(work: Callable[[], T]) -> tuple[float, T]:
    """(processor seconds, result) of a single pass, for peers that take minutes."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def edited(text: str, lang: str, share: float, generator: random.Random) -> str:
    """A text with about ``share`` of its words (Chinese: characters) replaced, dropped or doubled, as people and
    templates edit pages.
    """
    parts = list(text) if lang == "zh" else text.split(" ")
    pool = [p for p in parts if p.strip()] or parts
    out: list[str] = []
    for part in parts:
        if generator.random() >= share:
            out.append(part)
            continue
        what = generator.randrange(3)
        if what == 0:
            out.append(generator.choice(pool))
        elif what == 1:
            out += [part, generator.choice(pool)]
    return ("" if lang == "zh" else " ").join(out)


def row(what: str, mb: float, seconds: float, n: int, against: float | None = None) -> None:
    """Print a line: MB/s, documents/s, and how many times as fast as ``against`` seconds for the same input."""
    ratio = f"   {against / seconds:8.1f}x" if against else ""
    print(f"  {what:<58}{mb / seconds:9.2f} MB/s{n / seconds:11,.0f} docs/s{ratio}", flush=True)
