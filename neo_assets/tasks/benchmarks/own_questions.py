"""Questions of one's own, checked line by line.

A benchmark of this kind is a JSON-lines file with ``question``, ``choices`` and ``answer`` (index of the right choice).
One bad line stops the stage: a benchmark with a hole is another benchmark, and its scores would be compared with those
of the whole one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypedDict

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Choice
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, written
from training.tasks import Task

PROMPTS = {"en": ("Question: {question}\nAnswer:", " "), "zh": ("问题：{question}\n答案：", "")}
"""By language: the prompt, and what stands between it and a choice."""

_SHOWN_PROBLEMS = 5
_LINE_BREAK = re.compile(r"\r?\n")


class _Item(TypedDict):
    id: str
    question: str
    choices: list[str]
    answer: int


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore")

    question: Annotated[StrictStr, Field(min_length=1)]
    choices: Annotated[list[Annotated[StrictStr, Field(min_length=1)]], Field(min_length=2)]
    answer: Annotated[StrictInt, Field(ge=0)]

    @model_validator(mode="after")
    def _sound(self) -> _Record:
        if self.answer >= len(self.choices):
            raise ValueError(f"answer is {self.answer}, but there are {len(self.choices)} choices (counted from 0)")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("two choices are the same")
        return self


def build(name: str, benchmark: Choice, data: Path, out: Workspace) -> Built:
    """Raises BadInput that names file, line and reason."""
    if benchmark.lang not in PROMPTS:
        raise BadInput(f"benchmark '{name}' is in '{benchmark.lang}'; there are prompts for {', '.join(PROMPTS)} only")
    items = _read(data, data.read_bytes())
    prompt, delimiter = PROMPTS[benchmark.lang]
    task = Task(
        **written(name, benchmark, items, out),
        kind="multiple_choice",
        chance=round(sum(1 / len(item["choices"]) for item in items) / len(items), 6),
        metric=benchmark.metric,
        prompt=prompt,
        delimiter=delimiter,
        description=f"{len(items)} questions with {_counts(items)} choices, zero-shot.",
    )
    return Built(task, [(i["id"], i["question"], i["choices"][i["answer"]]) for i in items])


def _read(path: Path, data: bytes) -> list[_Item]:
    """Items in file order. Raises BadInput that names the file and every bad line (the first five)."""
    items: list[_Item] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    try:
        lines = _LINE_BREAK.split(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line_number = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}: line {line_number}: not UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _Record.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(p) for p in first["loc"])
            problems.append(
                f"line {number}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
            )
            continue
        if record.question in seen:
            problems.append(f"line {number}: the same question as line {seen[record.question]}")
            continue
        seen[record.question] = number
        items.append(
            _Item(id=f"{path.stem}-{number}", question=record.question, choices=record.choices, answer=record.answer)
        )
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise BadInput(f"{path}: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}")
    if not items:
        raise BadInput(f"{path}: there is no record in it")
    return items


def _counts(items: list[_Item]) -> str:
    return ", ".join(str(n) for n in sorted({len(i["choices"]) for i in items}))
