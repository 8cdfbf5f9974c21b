"""A conversation at a terminal: answers and commands, and what happens when somebody stops one."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from neo_assets.chat.speaker import Said, Speaker
from neo_assets.chat.terminal import Session, told
from training.templates import SYSTEM, USER, Turn


def talked(speaker: Speaker, *lines: str, **more: object) -> tuple[Session, str]:
    session = Session(speaker, most=12, temperature=0.0, seed=0, out=io.StringIO(), **more)  # type: ignore[arg-type]
    session.run(iter(lines))
    return session, session.out.getvalue()  # type: ignore[attr-defined]


def test_each_line_is_answered_and_what_was_said_is_kept(talking: Speaker) -> None:
    session, shown = talked(talking, "怎样打开文件？", "", "为什么？")
    assert [turn.text for turn in session.turns[::2]] == ["怎样打开文件？", "为什么？"]
    first = "".join(new for new, _ in talking.answer([Turn(USER, "怎样打开文件？")], 12))
    second = "".join(new for new, _ in talking.answer([*session.turns[:2], Turn(USER, "为什么？")], 12))
    assert [turn.text for turn in session.turns[1::2]] == [first, second]
    assert first in shown and second in shown and shown.count("tokens/s") == 2


def test_commands(talking: Speaker) -> None:
    session, shown = talked(talking, "/retry", "a?", "/system 短一点。", "/retry", "/new", "b?", "/huh", "/quit", "c?")
    assert "nothing was asked yet" in shown and "system: 短一点。" in shown and "a new conversation" in shown
    assert "/retry" in shown and [turn.text for turn in session.turns[::2]] == ["b?"]
    with_system = "".join(new for new, _ in talking.answer([Turn(SYSTEM, "短一点。"), Turn(USER, "b?")], 12))
    assert session.turns[1].text == with_system


def test_retry_draws_another_answer(talking: Speaker) -> None:
    session = Session(talking, most=12, temperature=1.5, seed=3, out=io.StringIO())
    session.run(iter(["a?"]))
    first = session.turns[-1].text
    session.run(iter(["/retry"]))
    assert len(session.turns) == 2 and session.turns[-1].text != first


def test_a_stopped_answer_is_kept_as_far_as_it_came(talking: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    given = talking.answer

    def stopped(*arguments: object) -> Iterator[tuple[str, Said]]:
        for count, pair in enumerate(given(*arguments)):  # type: ignore[arg-type]
            yield pair
            if count == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(type(talking), "answer", lambda self, *arguments: stopped(*arguments))
    session, shown = talked(talking, "a?")
    assert "stopped" in shown and session.turns[-1].text and session.turns[-1].text in shown


def test_what_is_told_of_an_answer() -> None:
    assert told(Said("ok", 4, 9, 0, True, 0.5)) == "4 tokens, 8 tokens/s"
    assert "not ended" in told(Said("ok", 4, 9, 0, False, 0.5))
    assert "the first 2 turns no longer fitted" in told(Said("ok", 4, 9, 2, True, 0.5))
    assert "the question is not kept" in told(Said(" ", 1, 9, 0, True, 0.5))
