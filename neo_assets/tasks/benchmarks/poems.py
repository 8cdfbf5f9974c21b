"""Which line comes next in a classical Chinese poem? Tang and Song poems as fortune files (Debian's fortunes-zh).

A wrong choice is the same line of a couplet (first or second half) of another poem with lines of the same length, so
that metre and place fit and only sense and memory tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Poems
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, written
from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.turns import placed
from training.tasks import Task

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEADING = re.compile(r"^(?:题目|作者)\s*[:：]|^《.*》$")
_COUPLET = re.compile(r"^(\w{4,9})，(\w{4,9})[。！？；]$")


@dataclass(frozen=True)
class _Couplet:
    poem: str
    title: str
    before: str
    first: str
    second: str


def build(name: str, benchmark: Poems, data: Path, out: Workspace) -> Built:
    """Raises BadInput for a folder without these files, or files without poems."""
    couplets = []
    for file in benchmark.files:
        path = data / file
        if not path.is_file():
            raise BadInput(f"benchmark '{name}': there is no {file} in {data}")
        couplets += read_couplets(path)
    by_length: dict[int, list[_Couplet]] = {}
    for couplet in couplets:
        by_length.setdefault(len(couplet.second), []).append(couplet)
    lines: list[dict[str, object]] = []
    searched = []
    for couplet in sorted(couplets, key=lambda c: keyed(benchmark.seed, name, c.poem, c.first)):
        if len(lines) == benchmark.items:
            break
        item = keyed(benchmark.seed, "item", couplet.poem, couplet.first)
        others = {c.second for c in by_length[len(couplet.second)] if c.poem != couplet.poem} - {couplet.second}
        wrong = sorted(others, key=lambda o: keyed(benchmark.seed, "distractor", item, o))[: benchmark.choices - 1]
        if len(wrong) < benchmark.choices - 1:
            continue
        position = len(lines) % benchmark.choices
        context = f"{couplet.title}\n{couplet.before}{couplet.first}，"
        lines.append(
            {
                "id": item,
                "context": context,
                "choices": [f"{c}。" for c in placed(couplet.second, wrong, position)],
                "answer": position,
            }
        )
        searched.append((item, f"{couplet.first}，{couplet.second}", ""))
    if not lines:
        raise BadInput(
            f"benchmark '{name}': no poem with couplets of even lines in {', '.join(benchmark.files)} of {data}"
        )
    task = Task(
        **written(name, benchmark, lines, out),
        kind="multiple_choice",
        chance=1 / benchmark.choices,
        metric="acc",
        prompt="{context}",
        description=(
            f"Which of {benchmark.choices} lines comes next in a classical poem; the wrong ones are of the same length"
            " and stand at the same place in other poems."
        ),
    )
    return Built(task, searched)


def read_couplets(path: Path) -> list[_Couplet]:
    """Couplets whose two lines are equally long, with what stands before them in their poem. A poem's later couplets
    follow the earlier ones.
    """
    try:
        text = _COLOUR.sub("", path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}") from error
    found = []
    for number, poem in enumerate(re.split(r"^%\s*$", text, flags=re.MULTILINE)):
        rows = [row.strip() for row in poem.split("\n") if row.strip()]
        title = next((row for row in rows if "《" in row), "")
        title = title[title.find("《") :] if title else ""
        before = ""
        for row in rows:
            if _HEADING.match(row):
                continue
            match = _COUPLET.match(row)
            if match and len(match[1]) == len(match[2]):
                found.append(_Couplet(f"{path.name}-{number}", title, before, match[1], match[2]))
            before += row + "\n"
    return found
