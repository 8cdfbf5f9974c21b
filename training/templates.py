"""How a conversation becomes tokens: what stands before a turn, what ends it, and which tokens are learnt.

A conversation is encoded piece by piece: what a template adds, and what somebody wrote, each by itself. So the tokens
of a prompt are those that the same prompt has before any answer (nothing merges over the border), and what is learnt is
exactly what the assistant wrote and the token that ends it. What somebody wrote never becomes a marker: text that
spells ``<|end|>`` is text.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from neo_assets.core.errors import BadInput

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
TEMPLATE = "neo_template"
"""Name in a model's configuration of the template that it was fine-tuned with."""
PENALTY = "neo_repetition_penalty"
"""And of how what an answer has said is made less likely, when the model is talked with."""
ROLES = (SYSTEM, USER, ASSISTANT)


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    role: str
    text: str


@dataclass(frozen=True)
class Piece:
    """A marker (one token, by its name) or text, and whether it is learnt."""

    text: str
    marker: bool = False
    learnt: bool = False


@dataclass(frozen=True)
class Encoded:
    """Tokens of a conversation, (n,), and for each whether it is learnt."""

    ids: list[int] = field(default_factory=list)
    learnt: list[bool] = field(default_factory=list)


class Template(abc.ABC):
    """A form of conversations. ``markers``: tokens that it needs in the tokenizer; ``stop``: the one that ends an
    answer.
    """

    name: str
    markers: tuple[str, ...]
    stop: str

    @abc.abstractmethod
    def pieces(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        """All of a conversation, in order."""

    @abc.abstractmethod
    def begin(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        """What comes after these turns, where an answer is asked for."""

    @abc.abstractmethod
    def jinja(self) -> str:
        """The same as a template of transformers, for an exported folder."""


class NeoTemplate(Template):
    """Ours: every turn between a marker of its role and ``<|end|>``, all of them tokens of their own."""

    name = "neo"
    markers = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    stop = "<|end|>"

    def pieces(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        for turn in turns:
            answer = turn.role == ASSISTANT
            yield Piece(f"<|{turn.role}|>", marker=True)
            yield Piece(turn.text, learnt=answer)
            yield Piece(self.stop, marker=True, learnt=answer)

    def begin(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        yield Piece("<|assistant|>", marker=True)

    def jinja(self) -> str:
        return (
            "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
        )


class PaperTemplate(Template):
    """MAP-Neo's, which is Llama 2's: ``<s>[INST] <<SYS>>\\n…\\n<</SYS>>\\n\\n… [/INST] … </s>``. Its brackets are
    text of several pieces; the answer begins with the space after them. The paper's default for the system is not
    written here: a conversation without one has none.
    """

    name = "map_neo"
    markers = ("<s>", "</s>")
    stop = "</s>"

    def pieces(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        system = ""
        for turn in turns:
            if turn.role == SYSTEM:
                system = f"<<SYS>>\n{turn.text}\n<</SYS>>\n\n"
            elif turn.role == USER:
                yield Piece("<s>", marker=True)
                yield Piece(f"[INST] {system}{turn.text} [/INST]")
                system = ""
            else:
                yield Piece(f" {turn.text} ", learnt=True)
                yield Piece(self.stop, marker=True, learnt=True)

    def begin(self, turns: Sequence[Turn]) -> Iterator[Piece]:
        return iter(())

    def jinja(self) -> str:
        return (
            "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' + messages[0]['content'] +"
            " '\\n<</SYS>>\\n\\n' %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}"
            "{% set rest = messages %}{% endif %}{% for message in rest %}{% if message['role'] == 'user' %}"
            "{{ '<s>' + '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}{% else %}"
            "{{ ' ' + message['content'] + ' ' + '</s>' }}{% endif %}{% endfor %}"
        )


_BOTH: tuple[Template, ...] = (NeoTemplate(), PaperTemplate())
TEMPLATES = {template.name: template for template in _BOTH}


def refuse_bad_order(turns: Sequence[Turn], answered: bool = True) -> None:
    """Raises BadInput, with the turn, unless a conversation is: a system turn or none, then user and assistant by
    turns, each with text, the assistant (where it is ``answered``) or the user last.
    """
    told = turns[1:] if turns and turns[0].role == SYSTEM else turns
    for i, turn in enumerate(turns, 1):
        if turn.role not in ROLES:
            raise BadInput(f"turn {i} is of '{turn.role}'; roles are {', '.join(ROLES)}")
        if not turn.text.strip():
            raise BadInput(f"turn {i}, of the {turn.role}, is empty")
    for i, turn in enumerate(told):
        if turn.role != (USER, ASSISTANT)[i % 2]:
            at = i + 1 + (len(turns) - len(told))
            raise BadInput(f"turn {at} is of the {turn.role}, where the {(USER, ASSISTANT)[i % 2]}'s is due")
    if not told:
        raise BadInput("it has no turn of a user")
    if answered and told[-1].role != ASSISTANT:
        raise BadInput("its last turn is the user's: nothing is answered")
    if not answered and told[-1].role != USER:
        raise BadInput("its last turn is the assistant's: nothing is asked")


def encode(
    template: Template, turns: Sequence[Turn], text: Callable[[str], list[int]], markers: Mapping[str, int]
) -> Encoded:
    """The tokens of a whole conversation. ``text`` encodes text in which nothing is a marker; ``markers`` are ids by
    name. Raises BadInput for turns in another order.
    """
    refuse_bad_order(turns)
    return _encoded(template.pieces(turns), text, markers)


def encode_prompt(
    template: Template, turns: Sequence[Turn], text: Callable[[str], list[int]], markers: Mapping[str, int]
) -> list[int]:
    """The tokens after which an answer is asked for: the beginning of every conversation that goes on from there.
    Raises BadInput for turns in another order.
    """
    refuse_bad_order(turns, answered=False)
    return _encoded([*template.pieces(turns), *template.begin(turns)], text, markers).ids


def _encoded(
    pieces: Iterator[Piece] | Sequence[Piece], text: Callable[[str], list[int]], markers: Mapping[str, int]
) -> Encoded:
    out = Encoded()
    for piece in pieces:
        ids = [markers[piece.text]] if piece.marker else text(piece.text)
        out.ids.extend(ids)
        out.learnt.extend([piece.learnt] * len(ids))
    return out


def marker_ids(
    template: Template, special_tokens: Sequence[str], pieces: int, control: Mapping[str, int]
) -> dict[str, int]:
    """Ids of a template's markers: tokens that a recipe appends after so many ``pieces``, or ``control`` pieces of the
    model itself. Raises BadInput for one that the tokenizer lacks.
    """
    known = {**control, **{token: pieces + i for i, token in enumerate(special_tokens)}}
    if lacking := [name for name in template.markers if name not in known]:
        raise BadInput(
            f"the template '{template.name}' needs the tokens {', '.join(lacking)}: add them to"
            " tokenizer.special_tokens, and train the tokenizer and what reads it again"
        )
    return {name: known[name] for name in template.markers}
