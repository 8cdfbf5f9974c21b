"""Asking a model for answers: conversations as it was trained on them, answered in batches with a cache of keys and
values, the likeliest token each time; and how answers are judged.

Prompts are encoded piece by piece (``templates.py``), by no chat template: what somebody wrote is text, whatever it
spells. A batch is padded on the left; in bf16 a token may depend on what else is in the batch, so answers are compared
between models that were asked in the same batches.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neo_assets.core.fingerprint import digest_bytes
from training.spelling import Spelling
from training.templates import PENALTY, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCRIPTS = {"zh": "CJK UNIFIED IDEOGRAPH", "en": "LATIN"}
"""How the names of a language's letters begin (Unicode character database)."""
WITHOUT_SPACES = SCRIPTS["zh"]
"""Each letter of this script is a word."""
UNFINISHED = "\ufffd"
"""How bytes decode that are not a whole character yet."""
OVERLAP = 2
"""Characters in a row whose share two answers have in common."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPELLED = re.compile(r"<\|?[a-zA-Z_/]+\|?>|\[/?INST\]|<</?SYS>>")


@dataclass(frozen=True)
class Answer:
    """What a model wrote: text, tokens (the one that ends it included), and whether it ended it itself."""

    text: str
    tokens: list[int]
    stopped: bool


@dataclass(frozen=True)
class Drawn:
    """Answers drawn at a temperature, as the model has them: nothing that was said is made less likely. ``keys``: of
    each prompt's answer, what its chances are drawn by; neither the batch nor another answer moves them.
    """

    temperature: float
    keys: Sequence[str]

    def chances(self, batch: Sequence[int], most: int) -> Any:
        """Uniform numbers for the tokens of some prompts' answers, fp64 (prompts, tokens)."""
        import numpy as np
        import torch

        seeds = [int(digest_bytes(self.keys[i].encode())[:32], 16) for i in batch]
        return torch.from_numpy(np.stack([np.random.Generator(np.random.Philox(s)).random(most) for s in seeds]))

    def choose(self, scores: Any, chances: Any) -> Any:
        """Scores (rows, vocabulary) of which only a drawn token's is left: where its chance falls among all tokens'."""
        import torch

        upto = torch.softmax(scores.double() / self.temperature, dim=-1).cumsum(dim=-1)
        falls = chances.to(scores.device)[:, None] * upto[:, -1:]
        token = torch.searchsorted(upto, falls, right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


@dataclass(frozen=True)
class Talker:
    """A model that answers in conversations. ``stops``: tokens that end an answer: the template's, and the end of a
    document; ``spelling``: None of a model whose tokenizer knows a template of its own.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stops: tuple[int, ...]
    spelling: Spelling | None = None
    penalty: float = 1.0
    """Of what an answer has said already, but for what ends it (arXiv 1909.05858; the question is not counted)."""

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: str) -> Talker:
        spelling = Spelling.of(tokenizer, template)
        stop, end = spelling.markers[spelling.template.stop], tokenizer.eos_token_id
        stops = (stop, *([end] if end is not None and end != stop else []))
        return cls(model, tokenizer, stops, spelling, float(getattr(model.config, PENALTY, 1.0)))

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Tokens after which an answer is asked for. Raises BadInput for turns in another order."""
        assert self.spelling is not None
        return self.spelling.prompt(turns)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode([t for t in tokens if t not in self.stops], skip_special_tokens=False))

    @property
    def room(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def answers(
        self, prompts: Sequence[Sequence[int]], most: int, batch_size: int, drawn: Drawn | None = None
    ) -> list[Answer]:
        """Answers to prompts, in their order; of at most ``most`` tokens each, the likeliest ones, or ``drawn``.
        Prompts of like length share a batch; one that leaves no room is answered with nothing.
        """
        import torch

        out: list[Answer | None] = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        asked = [i for i in order if len(prompts[i]) < self.room]
        for begin in range(0, len(asked), batch_size):
            batch = asked[begin : begin + batch_size]
            longest = max(len(prompts[i]) for i in batch)
            ids = torch.full((len(batch), longest), self.stops[-1], dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(batch):
                ids[row, longest - len(prompts[i]) :] = torch.tensor(prompts[i])
                mask[row, longest - len(prompts[i]) :] = 1
            chances = drawn.chances(batch, most) if drawn else None
            written = self._generate(ids, mask, min(most, self.room - longest), drawn, chances)
            for row, i in enumerate(batch):
                out[i] = self._cut(written[row, longest:].tolist())
        return [answer or Answer("", [], False) for answer in out]

    def _generate(self, ids: Any, mask: Any, most: int, drawn: Drawn | None, chances: Any) -> Any:
        import torch

        device, longest = self.model.device, ids.shape[1]
        processors: list[Callable[[Any, Any], Any]] = []
        if drawn is not None:
            processors.append(lambda said, scores: drawn.choose(scores, chances[:, said.shape[1] - longest]))
        elif self.penalty != 1:
            processors.append(lambda said, scores: self._penalised(said[:, longest:], scores))
        with torch.no_grad():
            return self.model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=list(self.stops),
                pad_token_id=self.stops[-1],
                use_cache=True,
                logits_processor=processors,
            )

    def _penalised(self, said: Any, scores: Any) -> Any:
        """Scores (rows, vocabulary) with what each row has said made less likely."""
        taken = scores.gather(1, said)
        lowered = taken * self.penalty
        lowered[taken > 0] = taken[taken > 0] / self.penalty
        out = scores.scatter(1, said, lowered)
        for stop in self.stops:
            out[:, stop] = scores[:, stop]
        return out

    def stream(
        self, prompt: Sequence[int], most: int, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[tuple[str, int, bool]]:
        """An answer as it is written: (what a token adds to the text, tokens so far, whether it ended the answer).

        Bytes of one character come together, so that some tokens add nothing. At temperature 0 the likeliest token each
        time; above, the same seed draws the same answer. Ends after the token that ends the answer, after ``most``, or
        where there is no room.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        ids, held = torch.tensor([list(prompt)], device=self.model.device), None
        tokens: list[int] = []
        said = ""
        for _ in range(min(most, self.room - len(prompt))):
            with torch.no_grad():
                out = self.model(input_ids=ids, past_key_values=held, use_cache=True)
            held, logits = out.past_key_values, out.logits[0, -1].float().cpu()
            if self.penalty != 1 and tokens:
                logits = self._penalised(torch.tensor([tokens]), logits[None])[0]
            if temperature:
                token = int(torch.multinomial(torch.softmax(logits / temperature, 0), 1, generator=generator))
            else:
                token = int(logits.argmax())
            tokens.append(token)
            text = self.decode(tokens)
            ended = token in self.stops
            new = text[len(said) :] if ended or not self._unfinished(token, text) else ""
            said += new
            yield new, len(tokens), ended
            if ended:
                return
            ids = torch.tensor([[token]], device=self.model.device)
        if rest := self.decode(tokens)[len(said) :]:
            yield rest, len(tokens), False

    def _unfinished(self, token: int, text: str) -> bool:
        """Whether what comes next may change how the last tokens are read: bytes are decoded together, as many as stand
        in a row.
        """
        piece = str(self.tokenizer.convert_ids_to_tokens(token))
        return text.endswith(UNFINISHED) or _BYTE.fullmatch(piece) is not None

    def _cut(self, tokens: list[int]) -> Answer:
        """An answer up to the first token that ends it."""
        end = next((i for i, token in enumerate(tokens) if token in self.stops), None)
        kept = tokens if end is None else tokens[: end + 1]
        return Answer(self.decode(kept), kept, end is not None)


# ------------------------------------------------------------------ judging


def in_language(text: str, lang: str) -> bool:
    """Whether most words are of the language's script, where a Chinese character is a word (so that names in another
    script stay names); of a language whose script is not known here, True.
    """
    script = SCRIPTS.get(lang)
    if script is None:
        return True
    mine = words = 0
    before = ""
    for character in text:
        name = unicodedata.name(character, "") if character.isalpha() else ""
        kind = name.partition(" ")[0] if not name.startswith(WITHOUT_SPACES) else WITHOUT_SPACES
        if name and (kind != before or kind == WITHOUT_SPACES):
            words += 1
            mine += name.startswith(script)
        before = kind
    return mine * 2 > words


def well_formed(text: str) -> bool:
    """Whether an answer says something, and spells no marker of any template."""
    return bool(text.strip()) and _SPELLED.search(text) is None


def overlap(text: str, target: str) -> float:
    """F1 of the runs of two characters (of one, where either is shorter) that two texts share."""
    size = min(OVERLAP, len(text), len(target))
    if not size:
        return 0.0
    mine, theirs = (Counter(t[i : i + size] for i in range(len(t) - size + 1)) for t in (text, target))
    return 2 * (mine & theirs).total() / (mine.total() + theirs.total())


def judged(answer: Answer, target: str, lang: str) -> dict[str, float]:
    """Every judgement of one answer, 1 or 0, or a share."""
    text = answer.text.strip()
    return {
        "exact": float(text == target.strip()),
        "stops": float(answer.stopped),
        "right_language": float(in_language(text, lang)),
        "well_formed": float(well_formed(text)),
        "overlap": overlap(text, target.strip()),
    }
