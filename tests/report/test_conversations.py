"""What the report says of fine-tuning: the sets as they were kept and dropped, and answers beside what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.evaluate.answers import ANSWERS
from neo_assets.report.conversations import answers_shown, conversations_part


def made(store: Store, name: str, files: dict[str, Any], **more: Any) -> Artifact:
    def work(out: Workspace) -> Outcome:
        for file, content in files.items():
            out.write_text(file, json.dumps(content))
        return Outcome(digest=name, **more)

    return store.build(name, MadeFrom(config={}, code={}, libraries={}, inputs={}), work)[0]


def answer(step: int, name: str, task: str, number: int, written: str) -> dict[str, object]:
    told = {"step": step, "checkpoint": f"{step:07d}-abcdef01", "name": name, "id": f"{name}{task}{number}"}
    told |= {"set": "pages", "task": task, "asked": f"{task}  {number}?\n", "target": "right one", "written": written}
    return told | {"exact": 0, "stops": 1}


def test_answers_of_every_run_stand_below_what_is_right(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = {
        run: [answer(step, f"chat_{lang}", task, i, f"{run} {step} {lang} {task} {i}")
              for step in (3, 6) for lang in ("en", "zh") for task in ("title", "define") for i in range(2)]
        for run in ("first", "second")
    }  # fmt: skip
    inputs = {f"evaluation/{run}": made(store, f"evaluation/{run}", {ANSWERS: told}) for run, told in rows.items()}
    inputs["evaluation/base"] = made(store, "evaluation/base", {"samples.json": []})
    dropped = {"dropped_held_out": 4, "dropped_bad_row": 1, "licence": "CC0-1.0"}
    inputs["instructions/pages"] = made(
        store, "instructions/pages", {}, numbers=dropped, rows_in=15, rows_kept=10, rows_dropped=5
    )
    shown = answers_shown(inputs)
    assert [(one.lang, one.prompt) for one in shown] == [
        ("en", "title 0?"), ("en", "define 0?"), ("zh", "title 0?"), ("zh", "define 0?")
    ]  # fmt: skip
    assert shown[0].continuations == [
        ("right", "right one"), ("first@6", "first 6 en title 0"), ("second@6", "second 6 en title 0")
    ]  # fmt: skip
    assert len(answers_shown(inputs, 1)) == 2
    (part,) = conversations_part(inputs)
    (row,) = part.blocks[0].rows  # type: ignore[union-attr]
    assert "10" in str(row) and "1 bad_row" in str(row) and "CC0-1.0" in str(row)
    assert not conversations_part({}) and not answers_shown({"evaluation/base": inputs["evaluation/base"]})
