"""How a stage spells what was said: a template, in the tokens of the recipe's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentencepiece import SentencePieceProcessor

from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Artifact
from neo_assets.tokenizer.huggingface import PADDING
from neo_assets.tokenizer.stream import token_dtype
from neo_assets.tokenizer.train import end_of_document_id, load_processor
from training.templates import TEMPLATES, Encoded, Template, Turn, encode, encode_prompt, marker_ids


@dataclass(frozen=True)
class Wording:
    """``markers``: the template's tokens by name; ``padding``: the token that fills windows up, which is never
    learnt; ``dtype``: the smallest that holds every token.
    """

    name: str
    template: Template
    processor: SentencePieceProcessor
    markers: dict[str, int]
    padding: int
    dtype: str

    @classmethod
    def of(cls, name: str, tokenizer: Tokenizer, made: Artifact) -> Wording:
        """Of a template and a tokenizer. Raises BadInput where it lacks a token of the template."""
        processor, template = load_processor(made), TEMPLATES[name]
        pieces, special = processor.vocab_size(), tokenizer.special_tokens
        control = {processor.id_to_piece(i): i for i in range(pieces) if processor.is_control(i)}
        markers = marker_ids(template, special, pieces, control)
        padding = pieces + special.index(PADDING) if PADDING in special else end_of_document_id(tokenizer, pieces)
        return cls(name, template, processor, markers, padding, token_dtype(pieces + len(special)))

    def encode(self, turns: Sequence[Turn]) -> Encoded:
        """The tokens of a whole conversation."""
        return encode(self.template, turns, self.processor.encode, self.markers)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens after which an answer is asked for."""
        return encode_prompt(self.template, turns, self.processor.encode, self.markers)
