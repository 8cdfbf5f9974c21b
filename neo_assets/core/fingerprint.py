"""What an artifact *is*: digests of content, fingerprints of what makes it, and the code that counts.

Two words, kept apart everywhere:

* a **digest** is a hash of content (a file, a table, a configuration);
* a **fingerprint** is a hash of everything that makes an artifact, and is the name of its folder.

"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import xxhash

CORE_VERSION = 3
"""Version of the record formats and of the store; part of every fingerprint."""

ROOT = Path(__file__).resolve().parents[2]
_CHUNK = 1 << 20


def digest_bytes(data: bytes) -> str:
    """128-bit BLAKE2b of ``data`` as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_json(value: object) -> str:
    """Digest of a JSON-able value in canonical form (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """128-bit BLAKE2b of a file's bytes, read in 1 MiB chunks."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


class MultisetDigest:
    """Digest of a collection of records that does not depend on their order or on how they are cut into shards.

    Each record contributes its 128-bit xxh3 hash, added modulo 2**128; the count and the sum together are hashed. It
    guards against accidents, not against an adversary who may choose records freely.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, record: bytes) -> None:
        self.count += 1
        self._sum = (self._sum + xxhash.xxh3_128_intdigest(record)) % (1 << 128)

    def add_row(self, values: Iterable[object]) -> None:
        """Add one record given as values; ``None`` and the empty string stay apart, and no separator can be forged."""
        parts = [b"\x00" if v is None else b"\x01" + str(v).encode("utf-8", "surrogatepass") for v in values]
        self.add(b"".join(len(p).to_bytes(8, "little") + p for p in parts))

    def add_many(self, data: memoryview, begins: Sequence[int]) -> None:
        """Add the records ``data[begins[i] : begins[i + 1]]``."""
        hashed = xxhash.xxh3_128_intdigest
        self._sum = (self._sum + sum(hashed(data[a:b]) for a, b in pairwise(begins))) % (1 << 128)
        self.count += len(begins) - 1

    def add_sum(self, count: int, total: int) -> None:
        """Add what another digest counted: its ``count`` and ``total``."""
        self.count += count
        self._sum = (self._sum + total) % (1 << 128)

    @property
    def total(self) -> int:
        return self._sum

    def hexdigest(self) -> str:
        return digest_json([self.count, self._sum])


def code_version(config: Mapping[str, object], code: Mapping[str, str], libraries: Mapping[str, str]) -> str:
    """Dagster's ``code_version``: everything about an artifact that is known before its inputs are."""
    return digest_json({"core": CORE_VERSION, "config": config, "code": code, "libraries": libraries})[:16]


def artifact_fingerprint(version: str, inputs: Mapping[str, str]) -> str:
    """Folder name of an artifact: its code version and the content digests of what it read."""
    return digest_json({"code_version": version, "inputs": inputs})
