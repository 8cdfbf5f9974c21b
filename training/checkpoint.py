"""Checkpoints that are whole or not there, and say what they hold.

A checkpoint is a folder of the store, ``checkpoint/‹run›/‹step›-‹run fingerprint›/``:

    state/…             DeepSpeed's weights, optimizer shards and schedule
    rng/rank‹k›.pt      random states of rank k
    metrics.parquet     one row per step since the checkpoint before
    certificate.json    digests of weights, optimizer and loss history, sample range, versions
    manifest.json       every file with size and digest; written last

It is written aside, hashed, synced and renamed by rank 0 between two barriers. Hashing costs about 0.1 s per 60 MB; for that, a
torn or altered file is always noticed before it is loaded.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from neo_assets.core import records
from neo_assets.core.fingerprint import MultisetDigest, digest_file, digest_json
from neo_assets.core.store import PARTIAL, InputRef, MadeFrom, Manifest, commit_folder, file_entries
from training.spec import PretrainConfig, checkpoint_name

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

STATE = "state"
METRICS = pa.schema(
    [
        ("step", pa.int64()),
        ("loss", pa.float64()),  # nats per trained token, over the global batch
        ("lr", pa.float64()),
        ("grad_norm", pa.float64()),
        ("tokens", pa.int64()),  # trained tokens since the run's start
        ("tokens_per_s", pa.float64()),
    ]
)
_REPRODUCIBLE = ("step", "loss", "lr", "grad_norm", "tokens")


def history_digest(before: str, metrics: pa.Table) -> str:
    """Chained digest of the loss history: the digest before, and the new steps' exact values (floats in hexadecimal)."""
    columns = [metrics.column(n).to_pylist() for n in _REPRODUCIBLE]
    return digest_json([before, [[v.hex() if isinstance(v, float) else v for v in row] for row in zip(*columns, strict=True)]])


def tensors_digest(path: Path) -> str:
    """Digest of every tensor and number in a ``.pt`` file of ours, whatever its container bytes look like."""
    digest = MultisetDigest()
    for name, value in _leaves(torch.load(path, map_location="cpu", weights_only=False), ""):
        if isinstance(value, torch.Tensor):
            raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
            digest.add(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode() + raw)
        elif isinstance(value, int | float | str | bool):
            digest.add(f"{name}={value!r}".encode())
    return digest.hexdigest()


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}/{i}")
    else:
        yield name, value


class Checkpoints:
    """Writes and finds the checkpoints of one run."""

    def __init__(self, config: PretrainConfig, rank: int) -> None:
        self.config = config
        self.rank = rank
        self.root = Path(config.checkpoints)

    def folder(self, step: int) -> Path:
        return self.root / checkpoint_name(step, self.config.run_fingerprint)

    def committed(self) -> list[tuple[int, Path]]:
        """(step, folder) of every committed checkpoint of this run, oldest first."""
        found = sorted(self.root.glob(f"*-{self.config.run_fingerprint[:8]}/manifest.json"))
        return [(int(p.parent.name.split("-")[0]), p.parent) for p in found if not p.parent.name.startswith(".")]

    def last_sound(self, say: Callable[[str], None]) -> tuple[int, Path] | None:
        """The newest checkpoint whose files all hash to what the manifest says. Damaged ones are renamed aside (rank 0)."""
        for step, folder in reversed(self.committed()):
            problem = damage(folder)
            if problem is None:
                return step, folder
            say(f"checkpoint {folder.name} is damaged ({problem}): set aside, going back to the one before")
            folder.rename(folder.with_name(f".damaged-{int(time.time())}-{folder.name}"))
        return None

    def save(self, engine: DeepSpeedEngine, step: int, tokens: int, metrics: list[dict[str, float | int]], history_before: str) -> Manifest | None:
        """Write the checkpoint of ``step``. Collective; returns the manifest on rank 0, None elsewhere."""
        final = self.folder(step)
        partial = final.with_name(f"{PARTIAL}{final.name}")
        started = time.monotonic()
        if self.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "rng").mkdir(parents=True)
        dist.barrier()
        engine.save_checkpoint(str(partial), tag=STATE, client_state={"step": step, "tokens": tokens}, save_latest=False)
        torch.save(random_states(), partial / "rng" / f"rank{self.rank}.pt")
        dist.barrier()
        manifest = self._commit(partial, final, step, tokens, metrics, history_before, started) if self.rank == 0 else None
        dist.barrier()
        return manifest

    def _commit(self, partial: Path, final: Path, step: int, tokens: int, metrics: list[dict[str, float | int]], history_before: str, started: float) -> Manifest:
        table = pa.table({n: [row[n] for row in metrics] for n in METRICS.names}, schema=METRICS)
        pq.write_table(table, partial / "metrics.parquet", compression="zstd")
        digests = {p.name: tensors_digest(p) for p in sorted((partial / STATE).glob("*.pt"))}
        history = history_digest(history_before, table)
        run = self.config.run
        certificate = {
            "run": self.config.run_name,
            "run_fingerprint": self.config.run_fingerprint,
            "step": step,
            "trained_tokens": tokens,
            "samples": [0, step * run.global_batch],
            "history_digest": history,
            "state_digests": digests,
            "world_size": run.ranks,
            "zero_stage": run.zero_stage,
            "precision": run.precision,
            "torch": torch.__version__,
        }
        records.write_text(partial / "certificate.json", json.dumps(certificate, indent=1))
        records.write_text(partial / "verdict.json", "[]")
        made_from = MadeFrom(
            config={"run": self.config.run_name, "step": step},
            code={},
            libraries={},
            inputs={f"pretraining/{self.config.run_name}": InputRef(fingerprint=self.config.run_fingerprint, digest=self.config.run_fingerprint)},
        )
        loss = float(metrics[-1]["loss"]) if metrics else None
        manifest = Manifest(
            key=f"checkpoint/{self.config.run_name}",
            fingerprint=final.name,
            digest=digest_json([step, history, digests]),
            made_from=made_from,
            numbers={"step": step, "loss": loss, "trained_tokens": tokens},
            files=file_entries(partial),
            seconds=round(time.monotonic() - started, 3),
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        commit_folder(partial, final, manifest)
        return manifest

    def load(self, engine: DeepSpeedEngine, folder: Path) -> tuple[int, int, str]:
        """Restore everything from a sound checkpoint. Returns (step, trained tokens, loss-history digest)."""
        path, state = engine.load_checkpoint(str(folder), tag=STATE)
        if path is None:
            raise RuntimeError(f"{folder}: DeepSpeed found no state in it")
        restore_random_states(torch.load(folder / "rng" / f"rank{self.rank}.pt", weights_only=False))
        certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        if certificate["step"] != state["step"]:
            raise RuntimeError(f"{folder}: the certificate says step {certificate['step']}, the state says {state['step']}")
        return int(state["step"]), int(state["tokens"]), str(certificate["history_digest"])


def damage(folder: Path) -> str | None:
    """What is wrong with a committed checkpoint, or None. Hashes every file."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is gone"
        if path.stat().st_size != entry.size or digest_file(path) != entry.digest:
            return f"{name} does not hash to what the manifest says"
    return None


def random_states() -> dict[str, object]:
    states: dict[str, object] = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: dict[str, object]) -> None:
    random.setstate(states["python"])  # type: ignore[arg-type]
    np.random.set_state(states["numpy"])  # type: ignore[arg-type]
    torch.set_rng_state(states["torch"])  # type: ignore[arg-type]
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])  # type: ignore[arg-type]
