"""Evaluation tasks as data: what an artifact of tasks holds, what makes a task the same task, and how lm-eval is told about it.

An artifact of tasks (``benchmark_items``, ``heldout_tasks``) is a folder with ``tasks.json``, a list of :class:`Task`, and one JSON-lines
file per task. Two kinds exist:

* ``multiple_choice``: lines with ``id``, ``choices``, ``answer`` (index) and the fields its ``prompt`` names;
* ``loglikelihood_rolling``: lines with ``id`` and ``text``.

The prompt is put together here and handed to lm-eval as a finished column, so no text of a document is ever read as a
template. That costs people who want lm-eval alone one step: they take the YAML that :func:`lm_eval_config` describes.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json

TASKS_FILE = "tasks.json"
TEMPLATE_VERSION = 1
"""Version of :func:`lm_eval_config` and :func:`lm_eval_record`; raise it when a change there alters what the model is asked."""

MULTIPLE_CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes")
"""Right when the true choice has the highest log-likelihood: as it is, by character, by UTF-8 byte."""


class Task(BaseModel):
    """One task of an evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["multiple_choice", "loglikelihood_rolling"]
    file: str  # JSON lines, beside tasks.json
    data_digest: str
    lang: str
    licence: str
    items: int
    chance: float  # score of knowing nothing
    metric: str  # the one that tables show
    prompt: str = ""  # str.format over an item's fields
    delimiter: str = ""  # between prompt and choice
    description: str


def write_tasks(tasks: Iterable[Task]) -> str:
    """Text of ``tasks.json``."""
    return json.dumps([t.model_dump() for t in sorted(tasks, key=lambda t: t.name)], ensure_ascii=False, indent=1)


def read_tasks(folders: Iterable[Path]) -> dict[str, tuple[Task, Path]]:
    """Every task of these folders with its data file, by name, in name order.

    Raises:
        BadInput: a ``tasks.json`` is missing or unreadable, or two tasks have one name.
    """
    found: dict[str, tuple[Task, Path]] = {}
    for folder in folders:
        try:
            tasks = TypeAdapter(list[Task]).validate_json((folder / TASKS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder / TASKS_FILE}: not a list of tasks ({error})") from error
        for task in tasks:
            if task.name in found:
                raise BadInput(f"two tasks are called '{task.name}': {found[task.name][1]} and {folder / task.file}; rename the benchmark in the recipe")
            found[task.name] = (task, folder / task.file)
    return dict(sorted(found.items()))


def task_identity(task: Task) -> str:
    """What makes two scores comparable: the task's description, its data, and the code that asks and scores."""
    return digest_json({"task": task.model_dump(), "lm_eval": importlib.metadata.version("lm_eval"), "template": TEMPLATE_VERSION})


def task_identities(folders: Iterable[Path]) -> dict[str, str]:
    """Identity of every task in these artifact folders, by task name. Needs no lm-eval to be importable, only installed."""
    return {name: task_identity(task) for name, (task, _) in read_tasks(folders).items()}


def lm_eval_record(task: Task, item: dict[str, object]) -> dict[str, object]:
    """One item as the columns lm-eval reads."""
    if task.kind == "loglikelihood_rolling":
        return {"id": item["id"], "text": item["text"]}
    return {"id": item["id"], "query": task.prompt.format(**item), "choices": item["choices"], "answer": item["answer"]}


def lm_eval_config(task: Task, data: Path, cache: Path) -> dict[str, object]:
    """The task's lm-eval YAML as a mapping. Columns are named instead of templated: Jinja would drop a trailing newline."""
    common: dict[str, object] = {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(cache)},
        "test_split": "test",
        "output_type": task.kind,
        "num_fewshot": 0,
        "metadata": {"version": TEMPLATE_VERSION},
    }
    if task.kind == "loglikelihood_rolling":
        return common | {"doc_to_text": "", "doc_to_target": "text", "metric_list": [{"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}]}
    metrics = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in MULTIPLE_CHOICE_METRICS]
    return common | {"doc_to_text": "query", "doc_to_choice": "choices", "doc_to_target": "answer", "target_delimiter": task.delimiter, "metric_list": metrics}
