"""Small conversations as fine-tuning reads them: a tokenizer, sets, a pre-training stream, and what is made of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sentencepiece

from neo_assets.align.sets import CONVERSATION, conversation_row
from neo_assets.align.shards import ShardsInput, write_conversations
from neo_assets.core import records
from neo_assets.core.recipe import load
from neo_assets.core.recipe.align import Sft
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.tokenizer.huggingface import export
from neo_assets.tokenizer.stream import INDEX
from neo_assets.tokenizer.train import _train
from tests.factory.site import _chinese, _english
from training.data.stream_files import stream_digest
from training.templates import ASSISTANT, TEMPLATES, USER, Encoded, Turn, encode, encode_prompt, marker_ids

WINDOW = 64
Talk = list[Turn]


@dataclass
class Words:
    """A small tokenizer of ours, and its exported folder."""

    settings: Tokenizer
    model: bytes
    processor: sentencepiece.SentencePieceProcessor
    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Words:
        generator = random.Random(1)
        text = {
            "en": ["\n".join(_english(generator, 20)) for _ in range(20)],
            "zh": ["".join(_chinese(generator, 20)) for _ in range(20)],
        }
        settings = load("laptop").tokenizer.model_copy(update={"vocab_size": 900, "sample_bytes": 500_000})
        model = _train(settings, text)
        export(model, settings, folder)
        return cls(settings, model, sentencepiece.SentencePieceProcessor(model_proto=model), folder)

    def markers(self, template: str) -> dict[str, int]:
        control = {name: self.processor.piece_to_id(name) for name in ("<s>", "</s>")}
        return marker_ids(TEMPLATES[template], self.settings.special_tokens, self.processor.vocab_size(), control)

    @property
    def text(self) -> Callable[[str], list[int]]:
        return self.processor.encode

    def encoded(self, template: str, turns: list[Turn]) -> Encoded:
        return encode(TEMPLATES[template], turns, self.text, self.markers(template))

    def prompt(self, template: str, turns: list[Turn]) -> list[int]:
        return encode_prompt(TEMPLATES[template], turns, self.text, self.markers(template))

    @property
    def ids(self) -> int:
        return int(self.processor.vocab_size()) + len(self.settings.special_tokens)


def talks(count: int, seed: int = 3, turns: int = 3) -> list[Talk]:
    """Conversations in both languages, of one exchange to ``turns``, of uneven lengths."""
    generator = random.Random(seed)
    out = []
    for number in range(count):
        lines = _english(generator, 12) if number % 2 else _chinese(generator, 12)
        talk: Talk = []
        for _ in range(generator.randint(1, turns)):
            talk += [Turn(USER, f"{number}: {generator.choice(lines)}"), Turn(ASSISTANT, generator.choice(lines)[:40])]
        out.append(talk)
    return out


def artifact(store: Store, name: str, work: Any) -> Artifact:
    return store.build(name, MadeFrom(config={"n": name}, code={}, libraries={}, inputs={}), work)[0]


def instructions(store: Store, name: str, given: list[Talk], lang: str = "en") -> Artifact:
    def work(out: Workspace) -> Outcome:
        rows = [conversation_row(talk, lang, "CC0-1.0").row for talk in given]
        out.write("rows.parquet", pa.Table.from_pylist(rows, schema=CONVERSATION))
        return Outcome(digest=name)

    return artifact(store, f"instructions/{name}", work)


def tokenizer(store: Store, words: Words) -> Artifact:
    def work(out: Workspace) -> Outcome:
        (out.path / "tokenizer.model").write_bytes(words.model)
        return Outcome(digest="words")

    return artifact(store, "tokenizer", work)


def stream(store: Store, ids: int, tokens: int = 3000) -> Artifact:
    """A ``token_shards`` artifact of made-up tokens in documents of uneven lengths."""

    def work(out: Workspace) -> Outcome:
        generator = np.random.default_rng(5)
        generator.integers(0, ids, tokens).astype(np.uint16).tofile(out.path / "tokens.bin")
        cuts = np.unique(np.concatenate([[0], generator.choice(tokens - 1, 40, replace=False) + 1, [tokens]]))
        np.save(out.path / "offsets.npy", cuts.astype(np.int64))
        count = len(cuts) - 1
        index = {
            "position": cuts[:-1], "doc_id": [f"{i:032x}" for i in range(count)], "round": [0] * count,
            "source": ["book"] * count, "lang": ["en"] * count, "tokens": np.diff(cuts),
        }  # fmt: skip
        records.write_table(pa.table(index).select(INDEX.names).cast(INDEX), out.path / "index.parquet")
        facts = {"dtype": "uint16", "digest": stream_digest(out.path), "tokens": tokens, "documents": count}
        out.write_text("stream.json", json.dumps(facts))
        return Outcome(digest="stream")

    return artifact(store, "token_shards/decay", work)


def shards(
    store: Store, words: Words, sets: dict[str, list[Talk]], settings: dict[str, Any], window: int = WINDOW,
    template: str = "neo",
) -> Artifact:  # fmt: skip
    """``conversation_shards/x`` of these sets under these settings."""
    inputs = {f"instructions/{name}": instructions(store, name, given) for name, given in sets.items()}
    inputs |= {"tokenizer": tokenizer(store, words)}
    told = Sft.model_validate({"rounds": dict.fromkeys(sets, 1.0), "seed": 1, **settings})
    if told.replay:
        inputs["token_shards/decay"] = stream(store, words.ids)
    config = ShardsInput(stage="x", settings=told, template=template, tokenizer=words.settings, window=window)
    made_from = MadeFrom(config=config.model_dump(mode="json"), code={}, libraries={}, inputs={})
    return store.build("conversation_shards/x", made_from, lambda out: write_conversations(config, inputs, out))[0]
