"""A run's token stream and the order it is seen in; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from training.data.order import DataOrder, TokenStream
from training.spec import PretrainConfig


def stream_facts(shards: Path) -> dict[str, object]:
    """``stream.json`` of a ``token_shards`` folder: dtype, digest, tokens, documents."""
    content: dict[str, object] = json.loads((shards / "stream.json").read_text(encoding="utf-8"))
    return content


def open_order(shards: Path, config: PretrainConfig) -> tuple[TokenStream, DataOrder]:
    facts = stream_facts(shards)
    stream = TokenStream(shards, config.run.sequence_length, str(facts["dtype"]))
    return stream, DataOrder(
        stream.sequences, config.run.seed, str(facts["digest"]), config.start_sample, tuple(config.run.skip_samples)
    )
