"""A run's token stream and the order it is seen in; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from neo_assets.core.fingerprint import digest_file, digest_json
from training.data.learnt_stream import LEARNT, LearntStream
from training.data.masked_stream import MaskedStream
from training.data.order import DataOrder, TokenStream
from training.data.pair_stream import PairStream
from training.data.tokens import FACTS, MASKED, ONE_FILE, ORDER_KEY, segments_of
from training.spec import PretrainConfig


def stream_facts(shards: Path) -> dict[str, object]:
    """``stream.json`` of a stream's folder: dtype, digest, tokens, documents; of packed conversations the length of
    their windows, too; of one that documents were withdrawn from, the key of its order.
    """
    content: dict[str, object] = json.loads((shards / FACTS).read_text(encoding="utf-8"))
    return content


def stream_digest(shards: Path) -> str:
    """Digest of what is trained on, from the files themselves."""
    segments = segments_of(shards)
    tokens = [ONE_FILE] if segments is None else [segment.tokens_file for segment in segments]
    names = [*tokens, "offsets.npy", *(name for name in (LEARNT, MASKED) if (shards / name).is_file())]
    return digest_json({name: digest_file(shards / name) for name in names})


def order_key(facts: Mapping[str, object]) -> str:
    """What the order of a stream is keyed by: its digest; of one that documents were withdrawn from, its digest if
    nothing had been.
    """
    return str(facts.get(ORDER_KEY, facts["digest"]))


def open_stream(shards: Path, sequence_length: int) -> TokenStream:
    """The stream of a folder, whichever kind it is."""
    facts = stream_facts(shards)
    kind = (
        PairStream
        if facts.get("pairs")
        else LearntStream
        if (shards / LEARNT).is_file()
        else MaskedStream
        if (shards / MASKED).is_file()
        else TokenStream
    )
    return kind(shards, sequence_length, str(facts["dtype"]))


def open_order(shards: Path, config: PretrainConfig) -> tuple[TokenStream, DataOrder]:
    stream, key = open_stream(shards, config.run.sequence_length), order_key(stream_facts(shards))
    skipped = tuple(config.run.skip_samples)
    return stream, DataOrder(stream.sequences, config.run.seed, key, config.start_sample, skipped)
