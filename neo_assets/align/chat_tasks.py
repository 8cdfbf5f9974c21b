"""``chat_tasks``: held-out prompts of the sets, as tasks that models are asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from neo_assets.align.sets import CONVERSATION, HELD_OUT_FILE
from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.align import Asked
from neo_assets.core.recipe.base import Lang, Section
from neo_assets.core.recipe.evaluation import CHAT
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.tasks.benchmarks.built import write_lines
from neo_assets.tasks.drawing import keyed
from training.tasks import TASKS_FILE, Task, write_tasks

DESCRIPTION = (
    "Answers to held-out prompts of {sets}: exactly right, and beside that whether they end, are in the right language"
    " and well formed. What was asked is trained on nowhere; how it is asked, is. Guessing is always the same answer to"
    " each kind of question."
)


class ChatTasksInput(Section):
    settings: Asked
    languages: list[Lang]
    template: str


def make_chat_tasks(config: ChatTasksInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Held-out prompts as tasks of the evaluation, one a language: of every set and each of its tasks, by turns, as
    many as the recipe asks for. Which they are is decided by a keyed hash.
    """
    by_group: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    licences: dict[str, set[str]] = defaultdict(set)
    for key, made in sorted(inputs.items()):
        name = key.partition("/")[2]
        for row in records.read_table(made.file(HELD_OUT_FILE), CONVERSATION).to_pylist():
            *turns, answer = row["turns"]
            item = {
                "id": row["conversation_id"], "turns": turns, "target": answer["text"], "lang": row["lang"],
                "set": name, "task": row["task"],
            }  # fmt: skip
            by_group[row["lang"]][f"{name}/{row['task']}"].append(item)
            licences[row["lang"]].add(row["licence"])
    tasks = []
    for lang in config.languages:
        items = _by_turns(by_group[lang], config.settings)
        if not items:
            continue
        file, digest = write_lines(out, f"{CHAT}_{lang}", items)
        tasks.append(
            Task(
                name=f"{CHAT}_{lang}",
                kind="chat",
                file=file,
                data_digest=digest,
                lang=lang,
                licence=", ".join(sorted(licences[lang])),
                items=len(items),
                chance=_constant(items),
                metric="exact",
                template=config.template,
                max_tokens=config.settings.max_tokens,
                description=DESCRIPTION.format(sets=", ".join(sorted({str(i["set"]) for i in items}))),
            )
        )
    out.write_text(TASKS_FILE, write_tasks(tasks))
    counts = {task.name: task.items for task in tasks}
    return Outcome(
        digest=digest_json([t.model_dump(mode="json") for t in tasks]),
        parts={t.name: t.data_digest for t in tasks},
        numbers={name: n or 0 for name, n in counts.items()},
        checks=[Check(name="something_to_ask", passed=len(tasks) == len(config.languages), detail=str(counts))],
    )


def _constant(items: list[dict[str, Any]]) -> float:
    """Share that is right where every kind of question gets always the same answer, its most frequent one."""
    kinds: dict[tuple[object, object], Counter[str]] = defaultdict(Counter)
    for item in items:
        kinds[item["set"], item["task"]][item["target"]] += 1
    right = sum(max(counts.values()) for counts in kinds.values() if max(counts.values()) > 1)
    return right / len(items)


def _by_turns(groups: Mapping[str, list[dict[str, Any]]], settings: Asked) -> list[dict[str, Any]]:
    """Items of each group by turns, so that the first of a task are of every group."""
    lines = []
    for group, items in sorted(groups.items()):
        lines.append(sorted(items, key=lambda item: keyed(settings.seed, group, item["id"])))
    out = [line[i] for i in range(max(map(len, lines), default=0)) for line in lines if i < len(line)]
    return out[: settings.items]
