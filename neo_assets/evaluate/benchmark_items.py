"""Benchmarks named by the recipe, checked line by line and copied into the store.

A benchmark is a JSON-lines file with ``question``, ``choices`` and ``answer`` (index of the right choice). One bad line stops the
stage: a benchmark with a hole is another benchmark, and its scores would be compared with those of the whole one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypedDict

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT, digest_bytes, digest_file, digest_json
from neo_assets.core.recipe.base import Name, Section
from neo_assets.core.recipe.model import Benchmark
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from training.tasks import TASKS_FILE, Task, write_tasks

PROMPTS = {"en": ("Question: {question}\nAnswer:", " "), "zh": ("问题：{question}\n答案：", "")}
"""By language: the prompt, and what stands between it and a choice."""

_SHOWN_PROBLEMS = 5
_LINE_BREAK = re.compile(r"\r?\n")


class BenchmarkItemsInput(Section):
    """What this stage reads of the recipe. A path is no identity, so the files' digests are what makes the artifact stale."""

    benchmarks: dict[Name, Benchmark]
    digests: dict[Name, str] = Field(description="of each benchmark's file, as it was when the recipe was loaded")


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


def benchmark_items_input(benchmarks: dict[str, Benchmark]) -> BenchmarkItemsInput:
    """The stage's input for these benchmarks, with the digest of each file. Raises BadInput for a file that is not there."""
    return BenchmarkItemsInput(benchmarks=benchmarks, digests={name: digest_file(_file(name, b)) for name, b in benchmarks.items()})


def collect_benchmarks(config: BenchmarkItemsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Questions with known answers, in the languages of the recipe: what models are asked, and what no training text may contain.

    Every record is checked; the licence of each benchmark is the recipe's word.
    """
    tasks: list[Task] = []
    table: list[Row] = []
    for name, benchmark in sorted(config.benchmarks.items()):
        path = _file(name, benchmark)
        data = path.read_bytes()
        if digest_bytes(data) != config.digests.get(name):
            raise BadInput(f"{path}: benchmark '{name}' has changed since the recipe was loaded; load it again")
        if benchmark.lang not in PROMPTS:
            raise BadInput(f"benchmark '{name}' is in '{benchmark.lang}'; there are prompts for {', '.join(PROMPTS)} only")
        items = _read(path, data)
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        out.write_text(f"{name}.jsonl", text)
        prompt, delimiter = PROMPTS[benchmark.lang]
        tasks.append(
            Task(
                name=name,
                kind="multiple_choice",
                file=f"{name}.jsonl",
                data_digest=digest_bytes(text.encode()),
                lang=benchmark.lang,
                licence=benchmark.licence,
                items=len(items),
                chance=round(sum(1 / len(item["choices"]) for item in items) / len(items), 6),
                metric="acc_norm",
                prompt=prompt,
                delimiter=delimiter,
                description=f"{len(items)} questions with {_counts(items)} choices, zero-shot.",
            )
        )
        table.append(
            {"benchmark": name, "lang": benchmark.lang, "items": len(items), "chance": tasks[-1].chance, "licence": benchmark.licence, "file_digest": config.digests[name]}
        )
        out.log(f"{name}: {len(items)} items")
    out.write_text(TASKS_FILE, write_tasks(tasks))
    total = sum(t.items for t in tasks)
    return Outcome(
        digest=digest_json([t.model_dump() for t in tasks]),
        parts={t.name: t.data_digest for t in tasks},
        rows_in=total,
        rows_kept=total,
        rows_dropped=0,
        numbers={"benchmarks": len(tasks), "items": total},
        tables={"benchmarks": table},
        checks=[Check(name="rows_balance", passed=True, detail=f"{total} items in = {total} kept + 0 dropped")],
    )


def _file(name: str, benchmark: Benchmark) -> Path:
    path = ROOT / benchmark.path
    if not path.is_file():
        raise BadInput(f"benchmark '{name}': there is no file {path}")
    return path


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
            problems.append(f"line {number}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}")
            continue
        if record.question in seen:
            problems.append(f"line {number}: the same question as line {seen[record.question]}")
            continue
        seen[record.question] = number
        items.append(_Item(id=f"{path.stem}-{number}", question=record.question, choices=record.choices, answer=record.answer))
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise BadInput(f"{path}: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}")
    if not items:
        raise BadInput(f"{path}: there is no record in it")
    return items


def _counts(items: list[_Item]) -> str:
    return ", ".join(str(n) for n in sorted({len(i["choices"]) for i in items}))
