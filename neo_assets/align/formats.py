"""Conversations and preferences in the forms that people publish them in, each recognised by its fields.

========== ======================================================================================
messages   OpenAI: ``{"messages": [{"role": "user", "content": "…"}, …]}``
sharegpt   ``{"conversations": [{"from": "human", "value": "…"}, …]}``
alpaca     ``{"instruction": "…", "input": "…", "output": "…"}``
turns      ``["…", "…"]``: what user and assistant say, by turns
nectar     ``{"prompt": "Human: … Assistant: ", "answers": [{"answer": "…", "rank": 1.0}, …]}``
chosen     UltraFeedback and the like: ``{"prompt": "…", "chosen": …, "rejected": …}``; both are text, or messages
========== ======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from neo_assets.core.errors import BadInput
from training.templates import ASSISTANT, SYSTEM, USER, Turn, refuse_bad_order

NAMES = {
    "human": USER,
    "user": USER,
    "prompter": USER,
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "assistant": ASSISTANT,
    "bot": ASSISTANT,
    "model": ASSISTANT,
    "system": SYSTEM,
}
"""What sides are called elsewhere."""
_NECTAR = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \n]?")
Raw = Mapping[str, object]


@dataclass(frozen=True)
class Preference:
    """A prompt, and two answers of which the first is preferred."""

    prompt: Sequence[Turn]
    chosen: str
    rejected: str


def conversation(raw: object) -> list[Turn]:
    """A conversation, in whichever form it is. Raises BadInput with what is wrong, and the turn."""
    if isinstance(raw, list) and raw and all(isinstance(text, str) for text in raw):
        turns = [Turn((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(raw)]
        refuse_bad_order(turns)
        return turns
    row = _object(raw)
    form = next((form for form, read in _CONVERSATIONS.items() if read.fits(row)), None)
    if form is None:
        raise BadInput(
            f"it has the fields {_fields(row)}; a conversation has 'messages', 'conversations', or 'instruction' and"
            " 'output'"
        )
    turns = _CONVERSATIONS[form].read(row)
    refuse_bad_order(turns)
    return turns


def preferences(raw: object) -> list[Preference]:
    """Pairs of answers of which one is preferred: of a ranking, the first and the last. Raises BadInput."""
    row = _object(raw)
    if "answers" in row:
        return [_ranked(row)]
    if "chosen" in row and "rejected" in row:
        return [_chosen(row)]
    raise BadInput(f"it has the fields {_fields(row)}; a preference has 'chosen' and 'rejected', or ranked 'answers'")


# ------------------------------------------------------------------ conversations


@dataclass(frozen=True)
class _Form:
    fits: Callable[[Raw], bool]
    read: Callable[[Raw], list[Turn]]


def _messages(row: Raw) -> list[Turn]:
    return _turns(row["messages"], "messages", "role", "content")


def _sharegpt(row: Raw) -> list[Turn]:
    turns = _turns(row["conversations"], "conversations", "from", "value")
    system = row.get("system")
    return [Turn(SYSTEM, system), *turns] if isinstance(system, str) and system.strip() else turns


def _alpaca(row: Raw) -> list[Turn]:
    asked, given = _text(row, "instruction"), _text(row, "input") if row.get("input") else ""
    return [Turn(USER, f"{asked}\n\n{given}" if given.strip() else asked), Turn(ASSISTANT, _text(row, "output"))]


_CONVERSATIONS = {
    "messages": _Form(lambda row: "messages" in row, _messages),
    "sharegpt": _Form(lambda row: "conversations" in row, _sharegpt),
    "alpaca": _Form(lambda row: "instruction" in row and "output" in row, _alpaca),
}
FORMS = tuple(_CONVERSATIONS)


def _turns(value: object, name: str, role: str, text: str) -> list[Turn]:
    if not isinstance(value, list):
        raise BadInput(f"'{name}' is {type(value).__name__}, not a list of turns")
    out = []
    for i, turn in enumerate(value, 1):
        if not isinstance(turn, Mapping):
            raise BadInput(f"turn {i} of '{name}' is {type(turn).__name__}, not an object")
        if role not in turn or text not in turn:
            raise BadInput(f"turn {i} of '{name}' has the fields {_fields(turn)}; it needs '{role}' and '{text}'")
        side, said = turn[role], turn[text]
        if not isinstance(said, str):
            raise BadInput(f"turn {i} of '{name}': '{text}' is {type(said).__name__}, not text")
        if not isinstance(side, str) or side.lower() not in NAMES:
            raise BadInput(f"turn {i} of '{name}' is of '{side}'; sides are {', '.join(NAMES)}")
        out.append(Turn(NAMES[side.lower()], said))
    return out


# ------------------------------------------------------------------ preferences


def _ranked(row: Raw) -> Preference:
    answers = row["answers"]
    if not isinstance(answers, list) or len(answers) < 2:
        raise BadInput("'answers' is no list of two or more answers")
    ranked = []
    for i, answer in enumerate(answers, 1):
        if not isinstance(answer, Mapping) or not isinstance(answer.get("answer"), str):
            raise BadInput(f"answer {i} has no text 'answer'")
        rank = answer.get("rank")
        if isinstance(rank, bool) or not isinstance(rank, int | float):
            raise BadInput(f"answer {i} has no number 'rank'")
        ranked.append((float(rank), str(answer["answer"])))
    ranked.sort(key=lambda pair: pair[0])
    if ranked[0][0] == ranked[-1][0]:
        raise BadInput("all answers have the same rank: none is preferred")
    return _pair(_prompt(row.get("prompt")), ranked[0][1], ranked[-1][1])


def _chosen(row: Raw) -> Preference:
    both: list[tuple[Sequence[Turn] | None, str]] = []
    for name in ("chosen", "rejected"):
        value = row[name]
        if isinstance(value, str):
            both.append((None, value))
            continue
        turns = _turns(value, name, "role", "content")
        refuse_bad_order(turns)
        both.append((turns[:-1], turns[-1].text))
    (first, chosen), (second, rejected) = both
    if first is not None and second is not None and first != second:
        raise BadInput("'chosen' and 'rejected' answer different prompts")
    prompt = first if first is not None else _prompt(row.get("prompt") or row.get("instruction"))
    return _pair(prompt, chosen, rejected)


def _pair(prompt: Sequence[Turn], chosen: str, rejected: str) -> Preference:
    refuse_bad_order(prompt, answered=False)
    if not chosen.strip() or not rejected.strip():
        raise BadInput(f"the {'chosen' if not chosen.strip() else 'rejected'} answer is empty")
    if chosen == rejected:
        raise BadInput("both answers are the same: none is preferred")
    return Preference(prompt, chosen, rejected)


def _prompt(value: object) -> list[Turn]:
    """A prompt as text, as messages, or as Nectar writes it: ``Human: … Assistant: … Human: … Assistant:``."""
    if isinstance(value, list):
        return _turns(value, "prompt", "role", "content")
    if not isinstance(value, str):
        raise BadInput("it has no 'prompt' that is text or messages")
    parts = _NECTAR.split(value)
    if len(parts) == 1 or parts[0].strip():
        return [Turn(USER, value)]
    sides = [(side, text.strip()) for side, text in zip(parts[1::2], parts[2::2], strict=True)]
    if sides and sides[-1] == ("Assistant", ""):
        sides.pop()
    return [Turn(USER if side == "Human" else ASSISTANT, text) for side, text in sides]


# ------------------------------------------------------------------ rows


def _object(raw: object) -> Raw:
    if not isinstance(raw, Mapping):
        raise BadInput(f"is {type(raw).__name__}, not an object with fields")
    return raw


def _text(row: Raw, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise BadInput(f"'{name}' is {type(value).__name__}, not text")
    return value


def _fields(row: Raw) -> str:
    return ", ".join(f"'{str(name)[:40]}'" for name in list(row)[:20]) or "none"
