"""What a checkpoint proves about itself: digests that tell whether two runs are bit for bit the same, and where each
came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import torch
import xxhash
from pydantic import BaseModel, ConfigDict

from neo_assets.core.fingerprint import MultisetDigest, digest_json
from neo_assets.core.here import here
from training.states import read_state

CERTIFICATE = "certificate.json"
METRICS = pa.schema(
    [
        ("step", pa.int64()),
        ("loss", pa.float64()),  # nats per trained token, over the global batch
        ("lr", pa.float64()),
        ("grad_norm", pa.float64()),  # before clipping
        ("tokens", pa.int64()),  # trained tokens since the run's start
        ("tokens_per_s", pa.float64()),
    ]
)
_REPRODUCIBLE = ("step", "loss", "lr", "grad_norm", "tokens")


class Origin(BaseModel):
    """The checkpoint a run started from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str
    digest: str
    take: str


class Certificate(BaseModel):
    """``certificate.json`` of a checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    run_fingerprint: str
    step: int
    first_step: int
    trained_tokens: int  # by this run
    start_sample: int  # of the data order: the first this run may see
    next_sample: int  # of the data order: the first that the next step sees
    stream: str  # digest of the token stream
    seed: int
    history_digest: str  # of the loss history, chained step by step
    state_digests: dict[str, str]  # by file: every tensor and number of weights, optimizer and random states
    origin: Origin | None
    machine: dict[str, object]
    precision: str
    zero_stage: int
    code: dict[str, str]  # what the ranks found they ran, core included
    versions: dict[str, str]

    def outcome(self) -> dict[str, object]:
        """What must be equal in two runs that did the same."""
        return {
            name: getattr(self, name)
            for name in ("step", "trained_tokens", "next_sample", "history_digest", "state_digests")
        }


def read_certificate(checkpoint: Path) -> Certificate:
    """The certificate of a checkpoint folder. Raises ValueError where it does not hold one."""
    return Certificate.model_validate_json(here(checkpoint / CERTIFICATE).read_text(encoding="utf-8"))


def start_of_history() -> str:
    return digest_json([])


def chained(digest: str, row: Mapping[str, float | int]) -> str:
    """Digest of a loss history with one more step: the digest before, and the step's exact values (floats in
    hexadecimal).
    """
    values = [row[name] for name in _REPRODUCIBLE]
    return digest_json([digest, [v.hex() if isinstance(v, float) else v for v in values]])


def chain(digest: str, rows: Iterable[Mapping[str, float | int]]) -> str:
    for row in rows:
        digest = chained(digest, row)
    return digest


def state_digest(state: object) -> str:
    """Digest of every tensor, array and number in a nested state, whatever its container is and whichever file holds
    it.
    """
    digest = MultisetDigest()
    for name, value in _leaves(state, ""):
        if isinstance(value, torch.Tensor):
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data if value.numel() else b""
            digest.add(f"{name}:{value.dtype}:{tuple(value.shape)}:{xxhash.xxh3_128_hexdigest(raw)}".encode())
        elif hasattr(value, "tobytes"):  # numpy
            digest.add(f"{name}:{xxhash.xxh3_128_hexdigest(value.tobytes())}".encode())
        elif isinstance(value, int | float | str | bool):
            digest.add(f"{name}={_plain(value)!r}".encode())
    return digest.hexdigest()


def _plain(value: int | float | str | bool) -> int | float | str | bool:
    """A number as what it is, whatever class stood for it when it was saved: DeepSpeed's stage is an enumeration in
    memory and a number once it is read.
    """
    return (
        value if isinstance(value, bool) else next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
    )


def file_state_digest(path: Path) -> str:
    """:func:`state_digest` of a ``.pt`` file of ours, read as data."""
    return state_digest(read_state(path))


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}/{i}")
    else:
        yield name, value
