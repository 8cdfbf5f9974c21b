"""Evaluation tasks as data: what an artifact of tasks holds, what makes a task the same task, and how lm-eval is told
about it.

An artifact of tasks (``benchmark_items``, ``heldout_tasks``) is a folder with ``tasks.json``, a list of :class:`Task`,
and what each needs: a JSON-lines file, or for a task that lm-eval ships a folder of data sets called as on the hub.
Tasks whose data are not here are in ``absent.json``, each with what to do about it.

* ``multiple_choice``: lines with ``id``, ``choices``, ``answer`` (index) and the fields its ``prompt`` names;
* ``loglikelihood_rolling``: lines with ``id``, ``text`` and ``source``;
* ``generate``: lines with ``id``, ``prompt`` and ``target``: right when the first line written is the target;
* ``chat``: lines with ``id``, ``turns`` (``role``, ``text``; the last is the user's), ``target``, ``lang``, ``set`` and
  ``task``: answers in conversations of the task's ``template``, asked by ``chat.py``;
* ``code``: lines with ``id``, ``prompt`` and ``test`` (``{completion}`` stands where the completion goes): right when
  the program runs to its end;
* ``harness``: lm-eval's own task of that name.

Prompts are put together here and handed to lm-eval as finished columns, so no text of a document is ever read as a
template. That costs people who want lm-eval alone one step: they take the YAML that :func:`lm_eval_config` describes.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_json

TASKS_FILE, ABSENT_FILE = "tasks.json", "absent.json"
TEMPLATE_VERSION = 2
"""Version of :func:`lm_eval_config` and :func:`lm_eval_record`; raise it when a change there alters what the model is
asked.
"""

MULTIPLE_CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes")
"""Right when the true choice has the highest log-likelihood: as it is, by character, by UTF-8 byte."""

TELLS_NOTHING = frozenset({"licence", "file", "description", "lang", "chance"})
"""Fields of a task that change no answer and no score."""


class CodeLimits(BaseModel):
    """What a program that is being tested may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_s: int
    memory_mb: int
    packages: tuple[str, ...] = ()  # that its tests import, besides the standard library


class Shipped(BaseModel):
    """A task that lm-eval ships."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    definition: str  # digest of the files that define it
    folder: str  # of these files, below lm-eval's tasks
    question_fields: tuple[str, ...]  # columns of the data that hold what is asked


class Task(BaseModel):
    """One task of an evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["multiple_choice", "loglikelihood_rolling", "generate", "chat", "code", "harness"]
    file: str  # JSON lines or folder, beside tasks.json
    data_digest: str
    lang: str
    licence: str
    items: int | None  # None where only lm-eval knows
    chance: float | None  # score of knowing nothing; None where only lm-eval knows
    metric: str  # the one that tables show
    prompt: str = ""  # str.format over an item's fields
    delimiter: str = ""  # between prompt and choice
    shots: int = 0
    first: int | None = None  # as many items as are asked, where not all
    stop: tuple[str, ...] = ()
    max_tokens: int = 0  # of what is generated
    template: str = ""  # of conversations
    limits: CodeLimits | None = None
    shipped: Shipped | None = None
    description: str


class Absent(BaseModel):
    """A task that cannot be asked here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    lang: str
    message: str


def write_tasks(tasks: Iterable[Task]) -> str:
    """Text of ``tasks.json``."""
    return json.dumps([t.model_dump() for t in sorted(tasks, key=lambda t: t.name)], ensure_ascii=False, indent=1)


def write_absent(absent: Iterable[Absent]) -> str:
    """Text of ``absent.json``."""
    return json.dumps([a.model_dump() for a in sorted(absent, key=lambda a: a.name)], ensure_ascii=False, indent=1)


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
                raise BadInput(
                    f"two tasks are called '{task.name}': {found[task.name][1]} and {folder / task.file}; rename the"
                    " benchmark in the recipe"
                )
            found[task.name] = (task, folder / task.file)
    return dict(sorted(found.items()))


def read_absent(folders: Iterable[Path]) -> dict[str, Absent]:
    """Tasks of these folders that have no data, by name."""
    files = [folder / ABSENT_FILE for folder in folders if (folder / ABSENT_FILE).is_file()]
    return {
        a.name: a for file in files for a in TypeAdapter(list[Absent]).validate_json(file.read_text(encoding="utf-8"))
    }


def question_of(record: Mapping[str, object], fields: Iterable[str]) -> str:
    """What a record of somebody else's data set asks: its columns of these names, those that are text."""
    return " ".join(text for f in fields if isinstance(text := record.get(f), str))


def question_key(question: str) -> str:
    """Name of a question where data set and harness count items differently."""
    return digest_bytes(question.encode("utf-8", "surrogatepass"))[:16]


def limited(task: Task, name: str, first: int | None) -> Task:
    """The task under the name its scores get, with as many items as are asked."""
    if first is None or task.items is None or first >= task.items:
        return task.model_copy(update={"name": name})
    return task.model_copy(update={"name": name, "first": first, "items": first})


def task_identity(task: Task) -> str:
    """What makes two scores comparable: how the task is asked, its data, and the code that asks and scores."""
    how = {k: v for k, v in task.model_dump(mode="json").items() if k not in TELLS_NOTHING and k != "name"}
    return digest_json({"task": how, "lm_eval": importlib.metadata.version("lm_eval"), "template": TEMPLATE_VERSION})


def lm_eval_record(task: Task, item: Mapping[str, object]) -> dict[str, object]:
    """One item as the columns lm-eval reads."""
    if task.kind == "loglikelihood_rolling":
        return {"id": item["id"], "text": item["text"]}
    if task.kind in ("generate", "code"):
        return {"id": item["id"], "query": item["prompt"], "target": item.get("target", "")}
    return {"id": item["id"], "query": task.prompt.format(**item), "choices": item["choices"], "answer": item["answer"]}


def lm_eval_config(task: Task, data: Path, cache: Path, longest: int) -> dict[str, object]:
    """The task's lm-eval YAML as a mapping. Columns are named instead of templated: Jinja would drop a trailing
    newline.

    ``longest`` is how many tokens the model reads at once: at most half of them are generated, so that the prompt keeps
    the rest.
    """
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
        return common | {
            "doc_to_text": "",
            "doc_to_target": "text",
            "metric_list": [{"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}],
        }
    if task.kind in ("generate", "code"):
        how = {
            "until": list(task.stop),
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": max(1, min(task.max_tokens, longest // 2)),
        }
        asked = {
            "output_type": "generate_until",
            "doc_to_text": "query",
            "doc_to_target": "target",
            "target_delimiter": "",
            "generation_kwargs": how,
        }
        return (
            common | asked | {"metric_list": [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}]}
        )
    metrics = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in MULTIPLE_CHOICE_METRICS]
    return common | {
        "doc_to_text": "query",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": task.delimiter,
        "metric_list": metrics,
    }
