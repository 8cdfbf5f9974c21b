"""Checkpoints that are whole or not there, and say what they hold.

A checkpoint is a folder of the store, ``checkpoint/‹run›/‹step›-‹run fingerprint›/``:

    state/…             DeepSpeed's weights and optimizer shards
    rng/rank‹k›.pt      random states of rank k
    metrics.parquet     one row per step since the checkpoint before
    certificate.json    training/certificate.py
    manifest.json       every file with size and digest; written last

It is written aside by threads (training/snapshot.py), digested, synced and renamed. Asked to stop between two
checkpoints, a run saves a *rescue* beside its job: the same thing, no artifact, gone once a later checkpoint is there.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from neo_assets.core import records
from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.here import here
from neo_assets.core.jobs import RunningJob
from neo_assets.core.store import (
    MANIFEST,
    PARTIAL,
    VERDICT_FILE,
    FileEntry,
    InputRef,
    MadeFrom,
    Manifest,
    commit_folder,
    read_manifest,
)
from neo_assets.core.thinned import MARK as THINNED
from neo_assets.core.thinned import gone, thin
from training.certificate import CERTIFICATE, METRICS, Certificate, Origin, read_certificate
from training.machine import Machine
from training.snapshot import RANKS, Snapshots, Writing
from training.spec import PretrainConfig, checkpoint_name
from training.states import read_state
from training.weights import STATE

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

METRICS_FILE = "metrics.parquet"
MetricsRow = dict[str, float | int]


@dataclass(frozen=True)
class Progress:
    """Where a run is: everything that is neither weights nor optimizer."""

    step: int
    tokens: int  # trained since the run's start
    history: str  # digest of the loss history
    rows: list[MetricsRow]  # steps since the last checkpoint that is no rescue


class Checkpoints:
    """Writes and finds the checkpoints of one run. All methods are called by every rank unless they say otherwise."""

    def __init__(
        self,
        config: PretrainConfig,
        job: RunningJob,
        rank: int,
        machine: Machine,
        stream: str,
        announce: Callable[[Manifest], None],
    ) -> None:
        self.config, self.rank, self.machine, self.stream, self.announce = config, rank, machine, stream, announce
        self.root, self.rescues, self.ran = Path(job.spec.out), job.folder.path / "rescue", job.ran
        self.title = job.spec.title
        self.snapshots = Snapshots()
        self.writing: Writing | None = None

    def folder(self, step: int) -> Path:
        return self.root / checkpoint_name(step, self.config.run_fingerprint)

    # ------------------------------------------------ finding

    def committed(self) -> list[tuple[int, Path]]:
        """(step, folder) of every committed checkpoint of this run that is whole, oldest first."""
        return [
            (int(p.parent.name.split("-")[0]), p.parent)
            for p in sorted(self.root.glob(f"[0-9]*-{self.config.run_fingerprint[:8]}/{MANIFEST}"))
            if not gone(p.parent)
        ]

    def let_go(self) -> None:
        """Thin what the run does not keep whole, but for the newest. Rank 0 only."""
        keep, whole = self.config.run.keep, self.config.whole
        if keep is None or whole is None:
            return
        for step, folder in self.committed()[: -keep.last]:
            if step not in whole:
                thin(folder, read_manifest(folder).files)
        for marked in self.root.glob(f"[0-9]*-{self.config.run_fingerprint[:8]}/{THINNED}"):
            if (marked.parent / STATE).is_dir():  # marked a moment ago, or by who was killed over it
                thin(marked.parent, gone(marked.parent))
                shutil.rmtree(marked.parent / STATE)

    def last_sound(self, say: Callable[[str], None]) -> tuple[int, Path] | None:
        """The newest checkpoint or rescue whose files all hash to what the manifest says. Damaged ones are renamed
        aside. Rank 0 only.
        """
        rescues = [(int(p.parent.name.split("-")[0]), p.parent) for p in self.rescues.glob(f"[0-9]*/{MANIFEST}")]
        for step, folder in sorted(
            [*self.committed(), *rescues], key=lambda found: (found[0], found[1].parent == self.root), reverse=True
        ):
            problem = damage(folder)
            if problem is None:
                return step, folder
            say(f"checkpoint {folder.name} is damaged ({problem}): set aside, going back to the one before")
            folder.rename(folder.with_name(f".damaged-{int(time.time())}-{folder.name}"))
        return None

    # ------------------------------------------------ writing

    def save(self, engine: DeepSpeedEngine, progress: Progress, next_sample: int, *, rescue: bool = False) -> None:
        """Take a snapshot and have it written. Returns when the snapshot is in memory; waits for the one before."""
        self.settle()
        final = (
            self.folder(progress.step)
            if not rescue
            else self.rescues / checkpoint_name(progress.step, self.config.run_fingerprint)
        )
        partial = final.with_name(f"{PARTIAL}{final.name}")
        if self.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "rng").mkdir(parents=True)
            (partial / RANKS).mkdir()
            (partial / STATE).mkdir()
        dist.barrier()
        own, engine.checkpoint_engine = engine.checkpoint_engine, self.snapshots
        try:
            # The key makes DeepSpeed's own converter to another world size accept the files.
            state = {"step": progress.step, "tokens": progress.tokens, "universal_checkpoint_info": {}}
            engine.save_checkpoint(str(partial), tag=STATE, client_state=state, save_latest=False)
        finally:
            engine.checkpoint_engine = own
        files = [*self.snapshots.take(), (partial / "rng" / f"rank{self.rank}.pt", random_states())]
        began = time.monotonic()

        def commit(folder: Path, entries: dict[str, FileEntry], states: dict[str, str]) -> None:
            manifest = self._manifest(folder, final, progress, next_sample, entries, states, began)
            shutil.rmtree(folder / RANKS)
            commit_folder(folder, final, manifest)
            if not rescue:
                shutil.rmtree(self.rescues, ignore_errors=True)
                self.announce(manifest)
                self.let_go()

        self.writing = Writing(partial, self.rank, dist.get_world_size(), files, commit)

    def check(self) -> None:
        """Raises SystemExit where the checkpoint that is being written could not be."""
        if self.writing is not None:
            self.writing.check()

    def settle(self) -> None:
        """Wait until what was saved is on disk; on return it is committed, as every rank can see."""
        if self.writing is not None:
            self.writing.wait()
            self.writing = None
            dist.barrier()

    def _manifest(
        self,
        folder: Path,
        final: Path,
        progress: Progress,
        next_sample: int,
        entries: dict[str, FileEntry],
        states: dict[str, str],
        began: float,
    ) -> Manifest:
        config, run = self.config, self.config.run
        start = config.start
        certificate = Certificate(
            run=config.run_name,
            run_fingerprint=config.run_fingerprint,
            step=progress.step,
            first_step=config.first_step,
            trained_tokens=progress.tokens,
            start_sample=config.start_sample,
            next_sample=next_sample,
            stream=self.stream,
            seed=run.seed,
            history_digest=progress.history,
            state_digests=dict(sorted(states.items())),
            origin=Origin(checkpoint=Path(start.folder).name, digest=start.digest, take=start.take) if start else None,
            machine=self.machine.plain(),
            precision=run.precision,
            zero_stage=run.zero_stage,
            code=self.ran["code"],
            versions=self.ran["libraries"],
        )
        pq.write_table(
            pa.table({n: [row[n] for row in progress.rows] for n in METRICS.names}, schema=METRICS),
            folder / METRICS_FILE,
            compression="zstd",
        )
        records.write_text(folder / CERTIFICATE, certificate.model_dump_json(indent=1))
        records.write_text(folder / VERDICT_FILE, "[]")
        # Whatever else DeepSpeed leaves in the folder (its recovery script) is a file of the checkpoint, too.
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] != RANKS):
            name = path.relative_to(folder).as_posix()
            if name not in entries:
                entries[name] = FileEntry(size=path.stat().st_size, digest=digest_file(path))
        inputs = {self.title: InputRef(fingerprint=config.run_fingerprint, digest=config.run_fingerprint)}
        if start and not start.foreign:
            inputs[f"checkpoint/{Path(start.folder).parent.name}"] = InputRef(
                fingerprint=Path(start.folder).name, digest=start.digest
            )
        return Manifest(
            key=f"checkpoint/{config.run_name}",
            fingerprint=final.name,
            digest=digest_json(certificate.outcome()),
            made_from=MadeFrom(
                config={"run": config.run_name, "step": progress.step},
                code=self.ran["code"],
                libraries=self.ran["libraries"],
                inputs=inputs,
            ),
            numbers={
                "step": progress.step,
                "loss": float(progress.rows[-1]["loss"]) if progress.rows else None,
                "trained_tokens": progress.tokens,
            },
            files=dict(sorted(entries.items())),
            seconds=round(time.monotonic() - began, 3),
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    # ------------------------------------------------ reading

    def load(self, engine: DeepSpeedEngine, folder: Path, *, same_world: bool = True) -> Certificate:
        """Restore weights, optimizer and random states from a sound checkpoint of this world size. Returns its
        certificate.
        """
        own, engine.checkpoint_engine = engine.checkpoint_engine, self.snapshots
        try:
            path, state = engine.load_checkpoint(str(folder), tag=STATE, load_lr_scheduler_states=False)
        finally:
            engine.checkpoint_engine = own
        if path is None:
            raise RuntimeError(f"{folder}: DeepSpeed found no state in it")
        certificate = read_certificate(folder)
        if certificate.step != state["step"]:
            raise SystemExit(f"{folder}: the certificate says step {certificate.step}, the state says {state['step']}")
        if same_world:
            restore_random_states(read_state(folder / "rng" / f"rank{self.rank}.pt"))
        return certificate

    def progress(self, folder: Path, certificate: Certificate) -> Progress:
        """Where the run was when it saved this. The rows of a rescue are still to be committed, those of a checkpoint
        are.
        """
        rows = read_metrics([folder]) if folder.parent == self.rescues else []
        return Progress(certificate.step, certificate.trained_tokens, certificate.history_digest, rows)


def read_metrics(folders: Sequence[Path]) -> list[MetricsRow]:
    """Rows of these checkpoints' steps, in step order."""
    return [row for folder in folders for row in records.read_table(folder / METRICS_FILE).to_pylist()]


def damage(folder: Path) -> str | None:
    """What is wrong with a committed checkpoint, or None. Hashes every file."""
    try:
        manifest = read_manifest(folder)
    except DamagedArtifact as error:
        return str(error)
    left = gone(folder)
    for name, entry in manifest.files.items():
        if name in left:
            continue
        path = here(folder / name)
        if not path.is_file():
            return f"{name} is gone"
        if path.stat().st_size != entry.size or digest_file(path) != entry.digest:
            return f"{name} does not hash to what the manifest says"
    return None


def random_states() -> dict[str, object]:
    states: dict[str, object] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: dict[str, object]) -> None:
    random.setstate(states["python"])  # type: ignore[arg-type]
    np.random.set_state(states["numpy"])  # type: ignore[arg-type]
    torch.set_rng_state(states["torch"])  # type: ignore[arg-type]
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])  # type: ignore[arg-type]
