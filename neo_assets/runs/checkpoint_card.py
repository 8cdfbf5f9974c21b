"""The card of one exported checkpoint, compiled from what lies beside it: its certificate, losses and shapes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.pages.sourced import FILE as SOURCED
from neo_assets.pages.sourced import Sourced, compiled, name

CARD, CERTIFICATE, LOSSES, PARITY = (
    "README.md",
    "training/certificate.json",
    "training/metrics.parquet",
    "parity.json",
)
TEMPLATE = Path(__file__).parent / "pages" / "checkpoint_card.md.j2"


def card_digest() -> str:
    """Of what words the card."""
    return digest_json([digest_file(file) for file in (TEMPLATE, Path(__file__), SOURCED)])


def checkpoint_card(folder: Path, scored: bool) -> str:
    """The card of the export in ``folder``. ``scored``: of a reward model. Raises NotTraced."""
    certificate = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    parity = json.loads((folder / PARITY).read_text(encoding="utf-8"))
    losses = pq.read_table(folder / LOSSES, columns=["loss"])["loss"].to_pylist()
    machine = certificate["machine"]
    return compiled(
        TEMPLATE,
        {
            "scored": scored,
            "run": name(certificate["run"]),
            "step": Sourced(certificate["step"], CERTIFICATE),
            "parameters": Sourced(parameters(folder), "config.json"),
            "difference": Sourced(parity["max_abs_logit_difference"], PARITY),
            "tokens": Sourced(certificate["trained_tokens"], CERTIFICATE),
            "begun": _begun(certificate),
            "loss": Sourced(losses[-1], LOSSES) if losses else _no_loss(certificate),
            "precision": Sourced(certificate["precision"], CERTIFICATE),
            "device": Sourced(machine["device"], CERTIFICATE),
            "ranks": Sourced(machine["world_size"], CERTIFICATE),
            "history": Sourced(certificate["history_digest"], CERTIFICATE),
            "stream": Sourced(certificate["stream"], CERTIFICATE),
            "checkpoint": Sourced(f"{certificate['step']:07d}-{certificate['run_fingerprint'][:8]}", CERTIFICATE),
        },
        CARD,
    )


def _begun(certificate: Mapping[str, Any]) -> Sourced | str:
    """What the run began with."""
    origin = certificate.get("origin")
    if not origin:
        return "nothing: random weights"
    what = "weights" if origin["take"] == "weights" else "everything (weights, optimizer, place in the data)"
    return Sourced(f"{what} of checkpoint {origin['checkpoint']}", CERTIFICATE)


def _no_loss(certificate: Mapping[str, Any]) -> str:
    """Why there is none: the first checkpoint of a run holds what that began with."""
    return "not here: this is what the run began with" if certificate.get("origin") else "none: it was not trained yet"


def parameters(folder: Path) -> int:
    """Numbers in a folder's safetensors, counted in their headers."""
    return sum(_count(shape) for path in sorted(folder.glob("*.safetensors")) for shape in _shapes(path))


def _shapes(path: Path) -> Iterator[list[int]]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    yield from (tensor["shape"] for key, tensor in header.items() if key != "__metadata__")


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
