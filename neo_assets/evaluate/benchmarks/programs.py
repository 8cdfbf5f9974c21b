"""Programs to be written: HumanEval and MBPP, and files of their form (HumanEval+, MBPP+).

HumanEval is asked as its authors do: the function's head and docstring, cut at the next definition. MBPP is asked as lm-eval does: the
task and its tests in words, after solved examples, which are tasks 2, 3 and 4 of the set itself.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Code
from neo_assets.core.store import Workspace
from neo_assets.evaluate.benchmarks.built import Built, write_lines
from training.programs import COMPLETION
from training.tasks import CodeLimits, Task

STOPS = {"humaneval": ("\nclass", "\ndef", "\n#", "\nif", "\nprint"), "mbpp": ("[DONE]",)}
"""Where a completion ends: the HumanEval paper's list (arXiv 2107.03374, section 2.1); lm-eval's for MBPP."""
EXAMPLES = (2, 3, 4)
"""Task ids of MBPP whose solutions are shown, as in its paper (arXiv 2108.07732)."""


def build(name: str, benchmark: Code, data: Path, out: Workspace) -> Built:
    """Raises BadInput that names file and record."""
    records = _read(data)
    lines, searched = [], []
    make = _humaneval if benchmark.format == "humaneval" else _mbpp
    examples = _solved(records, benchmark.shots, data) if benchmark.format == "mbpp" else ""
    for number, record in records:
        if benchmark.format == "mbpp" and record.get("task_id") in EXAMPLES[: benchmark.shots]:
            continue
        try:
            line = make(record, examples)
        except (KeyError, TypeError, IndexError) as error:
            raise BadInput(f"{data}: record {number}: not a problem of {benchmark.format}'s form ({type(error).__name__}: {error})") from error
        lines.append(line)
        searched.append((str(line["id"]), str(record.get("text") or record["prompt"]), str(record.get("canonical_solution") or record.get("code", ""))))
    if not lines:
        raise BadInput(f"{data}: there is no problem in it")
    file, digest = write_lines(out, name, lines)
    task = Task(
        name=name,
        kind="code",
        file=file,
        data_digest=digest,
        lang=benchmark.lang,
        licence=benchmark.licence,
        items=len(lines),
        chance=0.0,
        metric="pass@1",
        shots=benchmark.shots,
        stop=STOPS[benchmark.format],
        max_tokens=benchmark.max_tokens,
        limits=CodeLimits(cpu_s=benchmark.cpu_s, memory_mb=benchmark.memory_mb),
        description=f"{len(lines)} programs to be written, one try each, greedy; right if the program passes its tests in the sandbox.",
    )
    return Built(task, searched)


def _humaneval(record: Mapping[str, Any], _: str) -> dict[str, object]:
    return {"id": record["task_id"], "prompt": record["prompt"], "test": f"{record['prompt']}{COMPLETION}\n{record['test']}\ncheck({record['entry_point']})\n"}


def _mbpp(record: Mapping[str, Any], examples: str) -> dict[str, object]:
    before, tests = str(record.get("test_setup_code") or ""), "\n".join(record["test_list"])
    return {"id": f"mbpp-{record['task_id']}", "prompt": examples + _question(record), "test": f"{COMPLETION}\n{before}\n{tests}\n"}


def _question(record: Mapping[str, Any]) -> str:
    shown = "\n".join(record["test_list"][:3])
    return f"You are an expert Python programmer, and here is your task: {record['text']} Your code should pass these tests:\n\n{shown}\n[BEGIN]\n"


def _solved(records: list[tuple[int, dict[str, Any]]], shots: int, data: Path) -> str:
    by_id = {record.get("task_id"): record for _, record in records}
    if missing := [i for i in EXAMPLES[:shots] if i not in by_id]:
        raise BadInput(f"{data}: the solved examples are tasks {', '.join(map(str, EXAMPLES[:shots]))}, and {missing[0]} is not there")
    return "".join(f"{_question(by_id[i])}{by_id[i]['code']}\n[DONE]\n\n" for i in EXAMPLES[:shots])


def _read(data: Path) -> list[tuple[int, dict[str, Any]]]:
    text = gzip.decompress(data.read_bytes()).decode() if data.suffix == ".gz" else data.read_text(encoding="utf-8")
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                out.append((number, json.loads(line)))
            except ValueError as error:
                raise BadInput(f"{data}: line {number}: {error}") from error
    return out
