"""A run's token stream and the order it is seen in; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from neo_assets.core.fingerprint import digest_file, digest_json
from training.data.learnt_stream import LEARNT, LearntStream
from training.data.order import DataOrder, TokenStream
from training.data.pair_stream import PairStream
from training.data.tokens import FACTS, ONE_FILE, segments_of
from training.spec import PretrainConfig


def stream_facts(shards: Path) -> dict[str, object]:
    """``stream.json`` of a stream's folder: dtype, digest, tokens, documents; of packed conversations the length of
    their windows, too.
    """
    content: dict[str, object] = json.loads((shards / FACTS).read_text(encoding="utf-8"))
    return content


def stream_digest(shards: Path) -> str:
    """Digest of what is trained on, from the files themselves."""
    segments = segments_of(shards)
    tokens = [ONE_FILE] if segments is None else [segment.tokens_file for segment in segments]
    names = [*tokens, "offsets.npy", *([LEARNT] if (shards / LEARNT).is_file() else [])]
    return digest_json({name: digest_file(shards / name) for name in names})


def open_order(shards: Path, config: PretrainConfig) -> tuple[TokenStream, DataOrder]:
    facts = stream_facts(shards)
    kind = PairStream if facts.get("pairs") else LearntStream if (shards / LEARNT).is_file() else TokenStream
    stream = kind(shards, config.run.sequence_length, str(facts["dtype"]))
    return stream, DataOrder(
        stream.sequences, config.run.seed, str(facts["digest"]), config.start_sample, tuple(config.run.skip_samples)
    )
