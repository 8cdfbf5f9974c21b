"""The tokenizer group: `tokenizer`, `fertility`, `token_shards` by phase."""

from __future__ import annotations

import dagster as dg

from neo_assets.core.fingerprint import digest_file
from neo_assets.core.recipe import Recipe
from neo_assets.declare import Declared, artifact
from neo_assets.tokenizer.stream import FertilityInput, StreamInput, measure_fertility, write_stream
from neo_assets.tokenizer.train import TokenizerInput, model_file, train_tokenizer

GROUP = "tokenizer"
FERTILITY_SAMPLE = 500
"""Documents a language and source that fertility is measured on; enough for three digits."""


def declared(recipe: Recipe) -> dict[str, Declared]:
    imported = digest_file(model_file(recipe.tokenizer)) if recipe.tokenizer.from_model else None
    trained = TokenizerInput(languages=recipe.languages, tokenizer=recipe.tokenizer, imported=imported)
    out = {
        "tokenizer": Declared("tokenizer", train_tokenizer, trained, reads=["train_pool"]),
        "fertility": Declared(
            "fertility",
            measure_fertility,
            FertilityInput(sample_documents=FERTILITY_SAMPLE),
            reads=["tokenizer", "train_pool"],
        ),
    }
    for phase in recipe.mixture:
        config = StreamInput(phase=phase, tokenizer=recipe.tokenizer)
        out[f"token_shards/{phase}"] = Declared(
            f"token_shards/{phase}", write_stream, config, reads=[f"mixture/{phase}", "tokenizer", "train_pool"]
        )
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    checks = {"tokenizer": ["same_ids", "lossless"], "token_shards": ["rows_balance", "every_document_ends"]}
    kinds = {"tokenizer": ["huggingface"], "fertility": ["json"], "token_shards": ["numpy"]}
    warns = [] if recipe.tokenizer.must_be_lossless else ["lossless"]
    return [
        artifact(recipe, GROUP, entry, checks=checks.get(stage, []), warns=warns, kinds=kinds[stage])
        for name, entry in declared(recipe).items()
        if (stage := name.split("/")[0])
    ]
