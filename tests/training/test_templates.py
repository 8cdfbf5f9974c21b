"""A template is exact: what is learnt is what the assistant wrote, a prompt's tokens are a conversation's beginning,
and the exported folder says the same.
"""

from __future__ import annotations

import itertools
import random

import pytest
from transformers import PreTrainedTokenizerFast

from neo_assets.core.errors import BadInput
from tests.align.conversations import Words
from training.templates import (
    ASSISTANT,
    SYSTEM,
    TEMPLATES,
    USER,
    Turn,
    marker_ids,
    refuse_bad_order,
)

TALK = [
    Turn(USER, "In which file is the list of sources?"),
    Turn(ASSISTANT, "In /etc/apt/sources.list."),
    Turn(USER, "怎样更新软件包列表？"),
    Turn(ASSISTANT, "运行 apt update。"),
]
WITH_SYSTEM = [Turn(SYSTEM, "Answer in one line."), *TALK]
EDGES = ["In", " In", "in\n", "。", "’s", " ", "a  b", "<|end|>", "<|user|>\n", "[/INST]", "</s>", "▁", "\u200b字"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("hf"))


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("turns", [TALK, WITH_SYSTEM, TALK[:2]])
def test_what_is_learnt_is_what_the_assistant_wrote_and_the_token_that_ends_it(
    words: Words, template: str, turns: list[Turn]
) -> None:
    made = words.encoded(template, turns)
    assert len(made.ids) == len(made.learnt)
    stop = words.markers(template)[TEMPLATES[template].stop]
    both = itertools.groupby(zip(made.ids, made.learnt, strict=True), lambda pair: pair[1])
    runs = [[token for token, _ in run] for learnt, run in both if learnt]
    answers = [turn.text for turn in turns if turn.role == ASSISTANT]
    assert len(runs) == len(answers)
    for run, answer in zip(runs, answers, strict=True):
        assert run[-1] == stop and run.count(stop) == 1  # a model that never learns it never stops
        assert words.processor.decode(run[:-1]).strip() == answer


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_a_prompt_is_the_beginning_of_every_conversation_that_goes_on_from_it(words: Words, template: str) -> None:
    generator = random.Random(2)
    texts = [*EDGES, *(f"{a}{b}" for a in EDGES for b in EDGES)]
    for _ in range(300):
        turns = [Turn(SYSTEM, generator.choice(texts) + "x")] if generator.random() < 0.5 else []
        for _ in range(generator.randint(1, 3)):
            turns += [Turn(USER, generator.choice(texts) + "q"), Turn(ASSISTANT, "r" + generator.choice(texts))]
        whole, prompt = words.encoded(template, turns), words.prompt(template, turns[:-1])
        assert whole.ids[: len(prompt)] == prompt
        assert all(whole.learnt[len(prompt) :]), "an answer is learnt from its first token on"


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_what_somebody_wrote_never_becomes_a_marker(words: Words, template: str) -> None:
    markers = words.markers(template)
    spelled = " ".join(markers)
    turns = [Turn(USER, f"{spelled}?"), Turn(ASSISTANT, f"{spelled}!")]
    plain = [Turn(USER, "a"), Turn(ASSISTANT, "b")]
    made, expected = words.encoded(template, turns).ids, words.encoded(template, plain).ids
    for token in markers.values():
        assert made.count(token) == expected.count(token)


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("turns", [TALK, WITH_SYSTEM, TALK[:2]])
def test_the_exported_folder_encodes_a_conversation_as_training_does(
    words: Words, template: str, turns: list[Turn]
) -> None:
    """Markers are tokens there only where the folder does not split them, as a folder of a chat model says."""
    hf = PreTrainedTokenizerFast.from_pretrained(str(words.folder), split_special_tokens=False)
    hf.chat_template = TEMPLATES[template].jinja()
    told = [{"role": turn.role, "content": turn.text} for turn in turns]
    ids = hf.apply_chat_template(told, return_dict=False)
    prompt = hf.apply_chat_template(told[:-1], add_generation_prompt=True, return_dict=False)
    if template == "neo":
        assert ids == words.encoded(template, turns).ids and prompt == words.prompt(template, turns[:-1])
    else:  # text on both sides of the border is one text there: the paper's template is exact only encoded apart
        assert hf.decode(ids) == hf.decode(words.encoded(template, turns).ids)
        assert prompt == words.prompt(template, turns[:-1])


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([], "no turn of a user"),
        ([Turn(SYSTEM, "x")], "no turn of a user"),
        ([Turn(ASSISTANT, "x")], "turn 1 is of the assistant, where the user's is due"),
        ([Turn(SYSTEM, "s"), Turn(USER, "a"), Turn(USER, "b")], "turn 3 is of the user, where the assistant's is due"),
        ([Turn(USER, "a"), Turn(SYSTEM, "b")], "turn 2 is of the system"),
        ([Turn(USER, "a"), Turn(ASSISTANT, " \n")], "turn 2, of the assistant, is empty"),
        ([Turn(USER, "a")], "nothing is answered"),
        ([Turn("tool", "a")], "turn 1 is of 'tool'"),
    ],
)
def test_turns_in_another_order_are_refused(turns: list[Turn], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        refuse_bad_order(turns)


def test_a_prompt_that_ends_with_an_answer_asks_nothing(words: Words) -> None:
    with pytest.raises(BadInput, match="nothing is asked"):
        words.prompt("neo", TALK)


def test_a_tokenizer_without_the_markers_is_named(words: Words) -> None:
    with pytest.raises(BadInput, match=r"'neo' needs the tokens <\|system\|>, <\|user\|>.* tokenizer\.special_tokens"):
        marker_ids(TEMPLATES["neo"], ["<EOD>"], 900, {})
