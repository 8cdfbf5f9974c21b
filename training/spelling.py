"""Conversations as tokens of an exported folder's tokenizer, as training spelled them with the recipe's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.templates import TEMPLATES, Encoded, Template, Turn, encode, encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Spelling:
    """Conversations as tokens of a Hugging Face tokenizer, piece by piece; ``markers``: the template's by name."""

    tokenizer: PreTrainedTokenizerBase
    template: Template
    markers: Mapping[str, int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, template: str) -> Spelling:
        """Raises ValueError where the tokenizer lacks a token of the template."""
        chosen, known = TEMPLATES[template], tokenizer.get_vocab()
        if lacking := [name for name in chosen.markers if name not in known]:
            raise ValueError(
                f"the template '{template}' needs the tokens {', '.join(lacking)}, which the tokenizer lacks"
            )
        return cls(tokenizer, chosen, {name: known[name] for name in chosen.markers})

    def text(self, text: str) -> list[int]:
        """Tokens of text in which nothing is a marker."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Tokens after which an answer is asked for. Raises BadInput for turns in another order."""
        return encode_prompt(self.template, turns, self.text, self.markers)

    def conversation(self, turns: Sequence[Turn]) -> Encoded:
        """All of a conversation. Raises BadInput for turns in another order."""
        return encode(self.template, turns, self.text, self.markers)
