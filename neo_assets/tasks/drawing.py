"""Drawing at random in a way that everybody repeats: by a keyed hash of what is drawn."""

from __future__ import annotations

import hashlib


def keyed(seed: int, *parts: object) -> str:
    """128-bit hash that orders things at random, the same way everywhere."""
    return hashlib.blake2b(
        "\x1f".join(str(p) for p in (seed, *parts)).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()
