"""Conversations and preferences as people publish them; what is wrong with a row is said with the turn."""

from __future__ import annotations

import pytest

from neo_assets.align.formats import conversation, preferences
from neo_assets.core.errors import BadInput
from training.templates import ASSISTANT, SYSTEM, USER, Turn

ASKED = [Turn(USER, "a?"), Turn(ASSISTANT, "b.")]


@pytest.mark.parametrize(
    ("raw", "turns"),
    [
        ({"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]}, ASKED),
        ({"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}]}, ASKED),
        (
            {"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}], "system": "s"},
            [Turn(SYSTEM, "s"), *ASKED],
        ),
        ({"instruction": "a?", "input": "", "output": "b."}, ASKED),
        (
            {"instruction": "Translate.", "input": "猫", "output": "cat"},
            [Turn(USER, "Translate.\n\n猫"), Turn(ASSISTANT, "cat")],
        ),
        ({"instruction": "a?", "output": "b."}, ASKED),
    ],
)
def test_a_conversation_in_every_form(raw: dict[str, object], turns: list[Turn]) -> None:
    assert conversation(raw) == turns


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "is list, not an object"),
        ({"text": "x"}, "it has the fields 'text'; a conversation has 'messages'"),
        ({"messages": "x"}, "'messages' is str, not a list of turns"),
        ({"messages": ["x"]}, "turn 1 of 'messages' is str, not an object"),
        ({"messages": [{"role": "user"}]}, "turn 1 of 'messages' has the fields 'role'; it needs 'role' and 'content'"),
        ({"messages": [{"role": "user", "content": None}]}, "'content' is NoneType, not text"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "turn 1 of 'conversations' is of 'tool'"),
        ({"messages": [{"role": "user", "content": "a"}]}, "nothing is answered"),
        ({"instruction": 3, "output": "b"}, "'instruction' is int, not text"),
        ({"instruction": "a", "output": "  "}, "turn 2, of the assistant, is empty"),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said(raw: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        conversation(raw)


def test_a_ranking_gives_its_first_and_its_last_whatever_their_order() -> None:
    answers = [{"answer": text, "rank": rank} for text, rank in (("middle", 2.0), ("worst", 7.0), ("best", 1.0))]
    (pair,) = preferences({"prompt": "\n\nHuman: a?\n\nAssistant: ", "answers": answers})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([Turn(USER, "a?")], "best", "worst")
    several = "\n\nHuman: a?\n\nAssistant: b.\n\nHuman: c?\n\nAssistant: "
    assert preferences({"prompt": several, "answers": answers})[0].prompt == [*ASKED, Turn(USER, "c?")]
    assert preferences({"prompt": "Human rights: what are they?", "answers": answers})[0].prompt == [
        Turn(USER, "Human rights: what are they?")
    ]


def test_pairs_as_text_and_as_messages() -> None:
    (pair,) = preferences({"prompt": "a?", "chosen": "b", "rejected": "c"})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([Turn(USER, "a?")], "b", "c")
    user = {"role": "user", "content": "a?"}
    told = {n: [user, {"role": "assistant", "content": n}] for n in ("chosen", "rejected")}
    (pair,) = preferences({"prompt": "ignored", **told})
    assert (pair.prompt, pair.chosen, pair.rejected) == ([Turn(USER, "a?")], "chosen", "rejected")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"prompt": "a"}, "a preference has 'chosen' and 'rejected', or ranked 'answers'"),
        ({"prompt": "a", "answers": []}, "no list of two or more answers"),
        ({"prompt": "a", "answers": [{"answer": "x", "rank": 1}, {"answer": "y"}]}, "answer 2 has no number 'rank'"),
        ({"prompt": "a", "answers": [{"answer": "x", "rank": 1}, {"answer": "y", "rank": 1}]}, "none is preferred"),
        ({"prompt": "a", "chosen": "x", "rejected": "x"}, "both answers are the same"),
        ({"prompt": "a", "chosen": "x", "rejected": " "}, "the rejected answer is empty"),
        ({"chosen": "x", "rejected": "y"}, "no 'prompt'"),
        (
            {
                "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}],
                "rejected": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "y"}],
            },
            "answer different prompts",
        ),
    ],
)
def test_what_is_wrong_with_a_preference_is_said(raw: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        preferences(raw)
