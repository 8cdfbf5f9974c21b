"""Which of four is the translation? Graded Chinese sentences and their English translations, from the package
hsk-sentences-audio (CC-BY-SA-4.0).

Wrong choices are other sentences of the set, the nearest in length, so that length alone tells nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Translation
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmarks.built import Built, by_length, nearest_in_length, written
from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.turns import placed
from training.tasks import Task

PROMPTS = {"zh": ("英文：{source}\n中文：", ""), "en": ("Chinese: {source}\nEnglish:", " ")}
"""By the language translated into: the prompt, and what stands between it and a choice."""


def build(name: str, benchmark: Translation, data: Path, out: Workspace) -> Built:
    """Raises BadInput for a file of another form."""
    try:
        pairs = sorted(
            {
                (str(r["id"]), str(r["translation"]["en"]).strip(), str(r["chinese"]).strip())
                for r in json.loads(data.read_text(encoding="utf-8"))
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{data}: not the sentences of hsk-sentences-audio ({type(error).__name__}: {error})") from error
    if benchmark.into not in PROMPTS:
        raise BadInput(
            f"benchmark '{name}': there are prompts for translating into {', '.join(PROMPTS)} only, not"
            f" '{benchmark.into}'"
        )
    usable = [
        (i, en, zh) if benchmark.into == "zh" else (i, zh, en)
        for i, en, zh in pairs
        if en and len(zh) >= benchmark.min_chars
    ]
    targets = by_length(target for _, _, target in usable)
    chosen = sorted(usable, key=lambda p: keyed(benchmark.seed, name, p[0]))[: benchmark.items]
    lines = []
    for number, (sentence, source, target) in enumerate(chosen):
        wrong = nearest_in_length(target, targets, benchmark.choices - 1, benchmark.seed, sentence)
        position = number % benchmark.choices
        lines.append({"id": sentence, "source": source, "choices": placed(target, wrong, position), "answer": position})
    prompt, delimiter = PROMPTS[benchmark.into]
    task = Task(
        **written(name, benchmark, lines, out),
        kind="multiple_choice",
        chance=1 / benchmark.choices,
        metric="acc_norm",
        prompt=prompt,
        delimiter=delimiter,
        description=(
            f"Which of {benchmark.choices} is the translation of a graded sentence; the wrong ones are other sentences,"
            " nearest in length."
        ),
    )
    return Built(task, [(sentence, source, target) for sentence, source, target in chosen])
