"""Held-out prompts as tasks: every kind of question by turns, and what always the same answer to each would score."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from neo_assets.align.chat_tasks import ChatTasksInput, make_chat_tasks
from neo_assets.align.sets import CONVERSATION, conversation_row
from neo_assets.core.recipe.align import Asked
from neo_assets.core.store import Outcome, Store, Workspace
from tests.align.conversations import artifact
from training.tasks import read_tasks
from training.templates import ASSISTANT, USER, Turn


def test_kinds_take_turns_and_guessing_is_the_most_frequent_answer_of_each(tmp_path: Path) -> None:
    store = Store(tmp_path)
    answers = {"language": ["English."] * 6 + ["Chinese."] * 2, "title": [f"title {i}" for i in range(8)]}

    def work(out: Workspace) -> Outcome:
        rows = [
            conversation_row([Turn(USER, f"{task} {i}?"), Turn(ASSISTANT, text)], "en", "CC0-1.0", task).row
            for task, texts in answers.items()
            for i, text in enumerate(texts)
        ]
        out.write("held_out.parquet", pa.Table.from_pylist(rows, schema=CONVERSATION))
        return Outcome(digest="pages")

    config = ChatTasksInput(settings=Asked(items=12, max_tokens=8, seed=1), languages=["en", "zh"], template="neo")
    out = Workspace(tmp_path / "out")
    out.path.mkdir()
    made = make_chat_tasks(config, {"instructions/pages": artifact(store, "instructions/pages", work)}, out)
    ((task, file),) = read_tasks([out.path]).values()
    items = [line for line in file.read_text().split("\n") if line]
    assert task.items == len(items) == 12 and sum('"task": "title"' in line for line in items) == 6
    right = max(sum(f'"target": "{answer}"' in line for line in items) for answer in ("English.", "Chinese."))
    assert task.chance == right / 12
    assert [check.passed for check in made.checks] == [False]  # nothing to ask in Chinese: a warning
