"""A model that somebody talks to: loaded once, asked turn by turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neo_assets.core.errors import BadInput
from training.chat import Talker
from training.templates import SYSTEM, TEMPLATE, Turn, refuse_bad_order

if TYPE_CHECKING:
    from neo_assets.chat.origin import Origin

LEAST_ROOM = 4
"""A prompt may take all but this part of what a model reads; the rest is left for the answer."""


@dataclass
class Said:
    """An answer as far as it has come; whole when its stream has ended."""

    text: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    left_out: int = 0
    """Turns that no longer fitted into what the model reads."""
    ended: bool = False
    """Whether the model ended it itself."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass
class Speaker:
    """``name``: how people call the model; ``folder``: where it lies."""

    name: str
    folder: Path
    talker: Talker
    origin: Origin
    template: str
    lines: list[str] = field(default_factory=list)
    """What is said of it before it speaks."""

    @classmethod
    def open(cls, folder: Path, name: str, origin: Origin, threads: int) -> Speaker:
        """Load a folder whose model was fine-tuned on conversations. Raises BadInput for one that was not."""
        network, tokenizer = _load(folder, threads)
        template = getattr(network.config, TEMPLATE, None)
        if template:
            talker: Talker = Talker.of(network, tokenizer, template)
        elif tokenizer.chat_template:
            talker, template = Elsewhere.of_folder(network, tokenizer), "its own"
        else:
            raise BadInput(
                f"{name} was not fine-tuned on conversations: it goes on with text, and does not answer. `neo generate"
                f" {name} TEXT` shows that"
            )
        lines = [f"{name}, template {template}, reads {talker.room:,} tokens", origin.told()]
        return cls(name, folder, talker, origin, template, lines)

    def fitted(self, turns: Sequence[Turn], most: int) -> tuple[list[Turn], list[int]]:
        """The turns that fit, and their tokens: the earliest go first, the system's and the last question stay. Raises
        BadInput where those alone do not fit.
        """
        refuse_bad_order(turns, answered=False)
        room = self.talker.room - min(most, self.talker.room // LEAST_ROOM)
        system, rest = (list(turns[:1]), list(turns[1:])) if turns[0].role == SYSTEM else ([], list(turns))
        while True:
            ids = self.talker.prompt([*system, *rest])
            if len(ids) <= room:
                return [*system, *rest], ids
            if len(rest) == 1:
                raise BadInput(f"the question has {len(ids):,} tokens; {self.name} reads {room:,} and its answer")
            rest = rest[2:]

    def answer(
        self, turns: Sequence[Turn], most: int, temperature: float = 0.0, seed: int = 0
    ) -> Generator[tuple[str, Said]]:
        """An answer piece by piece, with what is known of it so far. Raises BadInput."""
        kept, prompt = self.fitted(turns, most)
        said = Said(prompt_tokens=len(prompt), left_out=len(turns) - len(kept))
        began = time.monotonic()
        for new, said.tokens, said.ended in self.talker.stream(prompt, most, temperature, seed):
            said.text += new
            said.seconds = time.monotonic() - began
            if new:
                yield new, said
        yield "", said


class Elsewhere(Talker):
    """A model of somebody else's, asked with the template in its folder."""

    @classmethod
    def of_folder(cls, model: Any, tokenizer: Any) -> Elsewhere:
        told = model.generation_config.eos_token_id
        stops = tuple(told) if isinstance(told, list) else () if told is None else (told,)
        if not stops and tokenizer.eos_token_id is not None:
            stops = (tokenizer.eos_token_id,)
        if not stops:
            raise BadInput("the folder names no token that ends an answer (generation_config.json, eos_token_id)")
        return cls(model, tokenizer, stops)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        made = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        ids: list[int] = list(made["input_ids"])
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


def _load(folder: Path, threads: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as theirs

    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    return network.to(device).eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
