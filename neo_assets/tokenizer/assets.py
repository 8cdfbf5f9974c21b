"""The tokenizer room: `tokenizer`, `fertility`, `token_shards` by phase."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.core.fingerprint import digest_file
from neo_assets.core.recipe import Recipe
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.tokenizer.stream import FertilityInput, StreamInput, measure_fertility, write_stream
from neo_assets.tokenizer.train import TokenizerInput, model_file, train_tokenizer

LOSSLESS = Claim("lossless", "decode(encode(text)) is the text, for English, Chinese, code and odd white space.")
SAME_IDS = Claim("same_ids", "The Hugging Face tokenizer gives the ids that SentencePiece gives.")
EVERY_DOCUMENT_ENDS = Claim(
    "every_document_ends", "Every document of the stream is followed by the end-of-document token."
)
FERTILITY_SAMPLE = 500
"""Documents a language and source that fertility is measured on; enough for three digits."""


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    settings = recipe.tokenizer
    imported = digest_file(model_file(settings)) if settings.from_model else None
    yield Stage(
        "tokenizer",
        train_tokenizer,
        TokenizerInput(languages=recipe.languages, tokenizer=settings, imported=imported),
        reads=["train_pool"],
        kinds=["huggingface"],
        claims=[SAME_IDS, LOSSLESS.only_warns(not settings.must_be_lossless)],
    )
    yield Stage(
        "fertility",
        measure_fertility,
        FertilityInput(sample_documents=FERTILITY_SAMPLE),
        reads=["tokenizer", "train_pool"],
        kinds=["json"],
    )
    for phase in recipe.mixture:
        yield Stage(
            f"token_shards/{phase}",
            write_stream,
            StreamInput(phase=phase, tokenizer=settings),
            reads=[f"mixture/{phase}", "tokenizer", "train_pool", WITHDRAWN],
            parts={WITHDRAWN: "train_pool"},
            kinds=["numpy"],
            claims=[ROWS_BALANCE, EVERY_DOCUMENT_ENDS],
        )
