"""Programs to be written: HumanEval, MBPP, and EvalPlus's larger tests of both (HumanEval+, MBPP+).

HumanEval is asked as its authors do: the function's head and docstring, cut at the next definition. MBPP is asked as
lm-eval does: the task and its tests in words, after solved examples, which are tasks 2, 3 and 4 of the set itself and
are not asked.

A record with a program of tests of its own (``test``) is judged by that: lm-eval 0.4.13 judges MBPP+ by MBPP's three
assertions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Code
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, data_files, read_records, written
from training.programs import COMPLETION
from training.tasks import CodeLimits, Task

STOPS = {"humaneval": ("\nclass", "\ndef", "\n#", "\nif", "\nprint"), "mbpp": ("[DONE]",)}
"""Where a completion ends: the HumanEval paper's list (arXiv 2107.03374, section 2.1); lm-eval's for MBPP."""
EXAMPLES = (2, 3, 4)
"""Task ids of MBPP whose solutions are shown, as in its paper (arXiv 2108.07732)."""

Records = Sequence[tuple[str, dict[str, Any]]]


def build(name: str, benchmark: Code, data: Path, out: Workspace) -> Built:
    """Raises BadInput that names file and record."""
    records = [(f"{file}: {where}", record) for file in data_files(data) for where, record in read_records(file)]
    lines, searched = [], []
    make = _humaneval if benchmark.format == "humaneval" else _mbpp
    examples = _solved(records, benchmark.shots, data) if benchmark.format == "mbpp" else ""
    for where, record in records:
        try:
            if benchmark.format == "mbpp" and not _asked(record["task_id"], benchmark):
                continue
            line = make(record, examples)
            solution = str(record["canonical_solution" if benchmark.format == "humaneval" else "code"])
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise BadInput(
                f"{where}: not a problem of {benchmark.format}'s form ({type(error).__name__}: {error})"
            ) from error
        lines.append(line)
        searched.append((str(line["id"]), _words(record), solution))
    task = Task(
        **written(name, benchmark, lines, out),
        kind="code",
        chance=0.0,
        metric="pass@1",
        shots=benchmark.shots,
        stop=STOPS[benchmark.format],
        max_tokens=benchmark.max_tokens,
        limits=CodeLimits(cpu_s=benchmark.cpu_s, memory_mb=benchmark.memory_mb, packages=tuple(benchmark.packages)),
        description=(
            f"{len(lines)} programs to be written, one try each, greedy; right if the program passes its tests in the"
            " sandbox."
        ),
    )
    return Built(task, searched)


def _asked(task_id: object, benchmark: Code) -> bool:
    number = int(str(task_id))
    first, last = benchmark.task_ids or (number, number)
    return first <= number <= last and number not in EXAMPLES[: benchmark.shots]


def _humaneval(record: Mapping[str, Any], _: str) -> dict[str, object]:
    return {
        "id": record["task_id"],
        "prompt": record["prompt"],
        "test": f"{record['prompt']}{COMPLETION}\n{record['test']}\ncheck({record['entry_point']})\n",
    }


def _mbpp(record: Mapping[str, Any], examples: str) -> dict[str, object]:
    before = "\n".join([*(record.get("test_imports") or []), str(record.get("test_setup_code") or "")])
    tests = str(record.get("test") or "\n".join(record["test_list"]))
    return {
        "id": f"mbpp-{record['task_id']}",
        "prompt": examples + _question(record),
        "test": f"{COMPLETION}\n{before}\n{tests}\n",
    }


def _words(record: Mapping[str, Any]) -> str:
    """What is asked for in words: `text` in MBPP, `prompt` elsewhere."""
    return str(record["text"] if "text" in record else record["prompt"])


def _question(record: Mapping[str, Any]) -> str:
    shown = "\n".join(record["test_list"][:3])
    return (
        f"You are an expert Python programmer, and here is your task: {_words(record)} Your code should pass these"
        f" tests:\n\n{shown}\n[BEGIN]\n"
    )


def _solved(records: Records, shots: int, data: Path) -> str:
    by_id = {record.get("task_id"): record for _, record in records}
    if missing := [i for i in EXAMPLES[:shots] if i not in by_id]:
        raise BadInput(
            f"{data}: the solved examples are tasks {', '.join(map(str, EXAMPLES[:shots]))}, and {missing[0]} is not"
            " there"
        )
    return "".join(f"{_question(by_id[i])}{by_id[i]['code']}\n[DONE]\n\n" for i in EXAMPLES[:shots])
