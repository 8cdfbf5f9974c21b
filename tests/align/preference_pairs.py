"""Small pairs of answers, and what preferences and rewards are learnt from."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from neo_assets.align.pair_shards import PairsInput, write_pairs
from neo_assets.align.sets import PREFERENCE
from neo_assets.core.recipe.align import PairStage
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from tests.align.conversations import Words, artifact, talks, tokenizer
from training.templates import ASSISTANT, USER, Turn

VOCABULARY, WINDOW = 1024, 128
Pair = tuple[list[Turn], str, str]


def pairs(count: int, seed: int = 7, mixed: bool = True) -> list[Pair]:
    """Prompts, some after an exchange, with a sentence as the better answer and one that says no as the worse; or,
    where they are ``mixed``, the other way round for half of them.
    """
    generator = random.Random(seed)
    out = []
    for number, talk in enumerate(talks(count, seed, 1)):
        prompt = [Turn(USER, f"{number}?")]
        if generator.random() < 0.3:
            prompt = [Turn(USER, "a?"), Turn(ASSISTANT, "b."), *prompt]
        answers = [talk[1].text[:12], f"{number} {'no ' * generator.randint(1, 6)}"]
        if mixed:
            generator.shuffle(answers)
        out.append((prompt, answers[0], answers[1]))
    return out


def pair_shards(folder: Path, words: Words, given: list[Pair], window: int = WINDOW, **settings: Any) -> Artifact:
    store = Store(folder)

    def work(out: Workspace) -> Outcome:
        rows = [
            {
                "pair_id": f"{i:032x}", "lang": "en", "licence": "CC0-1.0", "chosen": chosen, "rejected": rejected,
                "prompt": [{"role": turn.role, "text": turn.text} for turn in prompt],
            }
            for i, (prompt, chosen, rejected) in enumerate(given)
        ]  # fmt: skip
        out.write("rows.parquet", pa.Table.from_pylist(rows, schema=PREFERENCE))
        return Outcome(digest="pairs")

    inputs = {"tokenizer": tokenizer(store, words), "preferences/a": artifact(store, "preferences/a", work)}
    told = PairStage.model_validate({"rounds": {"a": 1.0}, **settings})
    config = PairsInput(stage="x", settings=told, template="neo", tokenizer=words.settings, window=window)
    made_from = MadeFrom(config=config.model_dump(mode="json"), code={}, libraries={}, inputs={})
    return store.build("pair_shards/x", made_from, lambda out: write_pairs(config, inputs, out))[0]
