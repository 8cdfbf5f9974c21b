"""`neo plan --data`: core hours, memory, disk and files of every step of the data half, before it is run.

Rates are what one core did on the machine of docs/measurements.md, on web pages of the benchmark; how much text there
will be is known from what is made already, and otherwise guessed from the sizes of the sources' files. Nothing is
assumed to be dropped before it is: hours and disk of later steps are upper bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neo_assets.core.errors import NeoError
from neo_assets.core.layout import TARGET_BYTES, ranges
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.sources import FilesSource, Source
from neo_assets.core.stage import Stage
from neo_assets.core.store import Artifact, Row, Store
from neo_assets.core.words import size
from neo_assets.crawl.input_files import InputFile, files_known_at_load, total_size


@dataclass(frozen=True)
class Rate:
    """``read``: megabytes of text that a core gets through in a second (of packed WARC for the first two); ``write``:
    bytes on disk for each byte of text; ``document``: bytes of memory of the asking process for each document, where
    all are looked at together.
    """

    read: float
    write: float
    document: float = 0.0


RATES = {
    "raw_crawl": Rate(5.4, 0.02),
    "page_text": Rate(1.3, 0.4, 50),
    "documents": Rate(3.4, 0.4, 40),
    "signals": Rate(22.0, 0.1),
    "clean_docs": Rate(43.0, 0.4),
    "exact_dedup": Rate(25.0, 0.05),
    "near_dedup": Rate(6.0, 0.4, 100),
    "line_dedup": Rate(13.0, 0.4),
    "substring_dedup": Rate(9.0, 0.4),
    "pii_masked": Rate(10.5, 0.2),
    "decontaminated": Rate(9.5, 0.05),
    "hq_classifier": Rate(1.2, 0.0),
    "hq_recall": Rate(4.6, 0.02),
    "matrix": Rate(63.0, 0.02),
    "heldout": Rate(1.1, 0.02),
    "train_pool": Rate(2.8, 0.4),
    "mixture": Rate(45.0, 0.02),
    "token_shards": Rate(8.6, 0.5),
}
"""Of ``python -m benchmarks.scale 1000000`` (docs/measurements.md), of the slower language where there are two."""
TEXT = {"warc": 0.3, "wet": 2.5, "documents": 2.2, "books": 0.05}
"""Bytes of text in a byte of a source's files, packed as they are: guesses."""
UNPACKED = 0.95
"""The same of rows that are not packed."""
DOCUMENT_BYTES = 4000.0
"""Of a page's text, guessed."""
PROCESS_GB, ASKING_GB = 1.7, 0.8
"""Memory of a process over files, which holds a file of 64 MB of text several times over, and of the one that asks."""


@dataclass(frozen=True)
class Amount:
    """Of text: bytes, documents, and whether that was counted or guessed. ``packed``: bytes of WARC files."""

    bytes: float
    documents: float
    counted: bool
    packed: float = 0.0
    files: int = 0


def data_plan(recipe: Recipe, store: Store, stages: Mapping[str, Stage[Any]]) -> tuple[list[Row], list[str]]:
    """(a row for each step, what could not be foreseen, in words)."""
    amounts, unknown = dict[str, Amount](), list[str]()
    for name, source in recipe.sources.items():
        found = _made(store, recipe, f"documents/{name}") or _guessed(source)
        if found is None:
            unknown.append(f"sources.{name}: how much it holds is known when it was crawled")
        else:
            amounts[name] = found
    rows = [row for stage in stages.values() if (row := _row(recipe, store, stage, amounts)) is not None]
    return rows, unknown


def _made(store: Store, recipe: Recipe, name: str) -> Amount | None:
    """How much text an artifact of this build holds."""
    pointer = store.head_pointer(recipe.name, name)
    made = store.find(*pointer) if pointer else None
    if made is None:
        return None
    return Amount(_text_of(made), made.manifest.rows_kept or 0, True, files=len(made.files("part-")))


def _text_of(made: Artifact) -> float:
    from neo_assets.core.steps import read_footer

    return float(sum(read_footer(path).get("text_bytes", 0) for path in made.files("part-")))


def _guessed(source: Source) -> Amount | None:
    """How much text a source's files hold, by their sizes; None where that cannot be told before it is read."""
    if not isinstance(source, FilesSource) or source.kind not in TEXT:
        return None
    try:
        files: Sequence[InputFile] = files_known_at_load(source, source.SUFFIXES)  # type: ignore[arg-type]
    except NeoError:
        return None
    share = TEXT[source.kind]
    text = sum(f.size * (UNPACKED if source.kind == "documents" and not _packed(f) else share) for f in files)
    packed = total_size(files) if source.kind == "warc" else 0
    return Amount(text, text / DOCUMENT_BYTES, False, packed, len(files))


def _packed(file: InputFile) -> bool:
    return bool(file.packed) or file.suffix == ".parquet"


def _row(recipe: Recipe, store: Store, stage: Stage[Any], amounts: Mapping[str, Amount]) -> Row | None:
    """What one step takes; None for what is no work over files."""
    rate = RATES.get(stage.kind)
    if rate is None:
        return None
    part = stage.name.partition("/")[2]
    read = amounts.get(part) if part in recipe.sources else _of(recipe, store, stage, amounts)
    if read is None:
        return None
    of_files = stage.kind in ("raw_crawl", "page_text") and read.packed
    amount = read.packed if of_files else read.bytes
    made = (pointer := store.head_pointer(recipe.name, stage.name)) and store.find(*pointer)
    spent = made.manifest.cpu_seconds if made else None
    hours = (amount / 1e6 / rate.read if spent is None else spent) / 3600
    files = read.files if part in recipe.sources else ranges(int(read.bytes))
    return {
        "step": stage.name,
        "reads": size(amount) + ("" if read.counted or of_files else " (guessed)"),
        "files": files,
        "core hours": float(f"{hours:.2g}") if hours < 100 else round(hours),
        "asking process": f"{ASKING_GB + rate.document * read.documents / 1e9:.1f} GB",
        "disk": size(sum(f.size for f in made.manifest.files.values()) if made else read.bytes * rate.write),
        "": "made" if made else "",
    }


def _of(recipe: Recipe, store: Store, stage: Stage[Any], amounts: Mapping[str, Amount]) -> Amount | None:
    """What a step reads that is of all sources: counted where what it reads is made, otherwise all there is."""
    made = [_made(store, recipe, name) for name in stage.reads if "/" in name or name in ("matrix", "train_pool")]
    counted = [one for one in made if one is not None and one.bytes]
    if counted:
        return Amount(sum(a.bytes for a in counted), sum(a.documents for a in counted), True)
    if not amounts:
        return None
    one = stage.name.partition("/")[2] in recipe.languages and stage.kind != "clean_docs"  # which reads all, keeps one
    share = 1 / len(recipe.languages) if one else 1.0
    return Amount(
        share * sum(a.bytes for a in amounts.values()), share * sum(a.documents for a in amounts.values()), False
    )


def told(recipe: Recipe, rows: Sequence[Row]) -> Iterator[str]:
    """What the rows add up to, and where the work would be done."""
    hours = sum(float(str(row["core hours"])) for row in rows)
    data = recipe.compute.data
    if data.engine == "local":
        cores, where = recipe.compute.workers, f"{recipe.compute.workers} processes here (compute.workers)"
    else:
        cores = data.tasks * data.cpus
        where = f"at most {data.tasks} tasks of {data.cpus} on {data.engine} (compute.data)"
    yield f"{hours:,.1f} core hours in all; {hours / cores:,.1f} h on {where}, if there were enough files for all."
    yield (
        f"A process needs about {PROCESS_GB} GB: it holds a file of {TARGET_BYTES / 1e6:.0f} MB of text several times"
        " over. Core hours are those of the machine and pages of docs/measurements.md; of what is made, those it took."
    )
