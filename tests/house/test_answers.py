"""What `neo summary` says of answers."""

from __future__ import annotations

from typing import Any

from neo_assets.house.answers import by_kind


def row(step: int, task: str, subset: str | None, value: float) -> dict[str, Any]:
    return {"step": step, "task": task, "subset": subset, "value": value}


def test_kinds_of_questions_are_told_of_the_last_checkpoint_by_its_name() -> None:
    scores = [
        row(10, "chat_en", "task:title", 0.9),
        row(70, "chat_en", None, 0.5),
        row(70, "chat_en", "task:title", 0.25),
        row(70, "chat_en", "task:language", 0.75),
        row(70, "bits_per_byte_en", "source:a", 1.5),
    ]
    assert list(by_kind(scores, "chat@70")) == [
        "  chat@70, chat_en, exactly right by kind of question: title 25%, language 75%"
    ]
    assert list(by_kind([], "")) == []
