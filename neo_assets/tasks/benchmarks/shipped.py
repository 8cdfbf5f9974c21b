"""Tasks that lm-eval ships, on data sets that lie here under their hub names; copied into the store, so that a score
stays repeatable.

Nothing of lm-eval is imported: definitions load where only its files are needed. Which files define a task is found by
its name, and their digest is part of the task's identity, so an edited or updated definition makes the task another
one.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.evaluation import Harness
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, read_records
from neo_assets.text.searched import Item
from training.tasks import Shipped, Task, question_key, question_of

_NAMED = re.compile(rb"^(?:task|group):[ \t]*['\"]?([\w.@+-]+)['\"]?[ \t]*$", re.MULTILINE)
_NOT_ASKED = re.compile(r"(?:^|[^a-z])(?:train|dev|fewshot|few_shot|auxiliary)")
"""Splits that give examples; every other one may be what a model is asked."""


def missing(benchmark: Harness, data: Path | None) -> list[str]:
    """Data sets that are not there."""
    return [name for name in benchmark.datasets if data is None or not (data / name).is_dir()]


@functools.cache
def _definitions() -> dict[str, Path]:
    """Folder below lm-eval's tasks that defines each task or group, by name."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = Path(spec.submodule_search_locations[0]) / "tasks"
    found: dict[str, Path] = {}
    for file in sorted(root.rglob("*.yaml")):
        for match in _NAMED.finditer(file.read_bytes()):
            found.setdefault(match[1].decode(), file.parent)
    return {name: folder.relative_to(root) if folder != root else Path() for name, folder in found.items()} | {"": root}


def definition(task: str, question_fields: list[str]) -> Shipped:
    """Which files of lm-eval define this task, with their digest. Raises BadInput for a name it does not have."""
    known = _definitions()
    if task not in known or not task:
        raise BadInput(f"lm-eval has no task or group called '{task}'; `lm-eval ls tasks` lists them")
    folder = known[""] / known[task]
    files = sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and p.suffix in (".yaml", ".py", "") and "__pycache__" not in p.parts
    )
    return Shipped(
        task=task,
        definition=digest_json([[p.relative_to(folder).as_posix(), digest_file(p)] for p in files]),
        folder=known[task].as_posix(),
        question_fields=tuple(question_fields),
    )


def build(name: str, benchmark: Harness, data: Path, out: Workspace) -> Built:
    """Copies the data sets and names the task. Raises BadInput for data without any text in the columns the recipe
    names.
    """
    folder = out.path / name
    shutil.rmtree(folder, ignore_errors=True)
    for dataset in benchmark.datasets:
        shutil.copytree(
            data / dataset, folder / dataset, ignore=shutil.ignore_patterns(".git", ".cache", ".huggingface")
        )
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    task = Task(
        name=name,
        kind="harness",
        file=name,
        data_digest=digest_json([[p.relative_to(folder).as_posix(), digest_file(p)] for p in files]),
        lang=benchmark.lang,
        licence=benchmark.licence,
        items=None,
        chance=None,
        metric=benchmark.metric,
        shots=benchmark.shots,
        shipped=definition(benchmark.task, benchmark.question_fields),
        description=f"lm-eval's '{benchmark.task}', {benchmark.shots} shots.",
    )
    searched = [s for file in files for s in _questions(file, benchmark.question_fields)]
    if not searched:
        raise BadInput(
            f"benchmark '{name}': no file of {', '.join(benchmark.datasets)} in {data} has text in a column called"
            f" {' or '.join(benchmark.question_fields)}"
        )
    return Built(task, searched)


def _questions(file: Path, fields: list[str]) -> Iterator[Item]:
    if _NOT_ASKED.search(file.stem.lower()):
        return
    for _, record in read_records(file):
        if text := question_of(record, fields):
            yield question_key(text), text, ""
