"""What a training job tells while it runs: progress, checkpoints, trouble; and how it leaves."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOBase

import torch.distributed as dist

from neo_assets.core.jobs import STOPPED, JobFolder, Reporter
from neo_assets.core.store import Manifest
from training import recorder
from training.checkpoint import MetricsRow
from training.control import StopRequests
from training.energy import EnergyMeter
from training.spec import PretrainConfig

PROGRESS_SECONDS = 5.0
Say = Callable[[str], None]


def announce(reporter: Reporter, manifest: Manifest) -> None:
    reporter.send(
        "checkpoint", name=manifest.fingerprint, digest=manifest.digest, seconds=manifest.seconds, **manifest.numbers
    )


def report_trouble(
    trouble: recorder.Trouble, documents: list[dict[str, object]], job: JobFolder, reporter: Reporter, say: Say
) -> None:
    """Keep what a step in trouble was made of, and tell it. On rank 0."""
    full = trouble.model_copy(update={"documents": documents})
    file = recorder.keep(full, job.path)
    reporter.send(
        "trouble",
        step=trouble.step,
        kind=trouble.kind,
        value=trouble.value,
        median=trouble.median,
        stops=trouble.stops,
        documents=len(documents),
    )
    usual = "" if trouble.median is None else f", usually {trouble.median:.4g}"
    say(
        f"step {trouble.step}: {trouble.kind.replace('_', ' ')} ({trouble.value}{usual}); its"
        f" {len(documents)} documents are in {file}"
    )


def how_to_go_on(trouble: recorder.Trouble, config: PretrainConfig) -> str:
    before = max(s for s in config.run.checkpoint_steps() if s < trouble.step)
    return (
        f"stopped at step {trouble.step}: {trouble.kind.replace('_', ' ')}. No checkpoint was written of it; the last"
        f" one is step {before}. Leave its batch out: neo continue {config.run_name}@{before} --without-steps"
        f" {trouble.step}"
    )


def leave(job: JobFolder, requests: StopRequests, step: int, reporter: Reporter, say: Say, rank: int) -> None:
    """End on request. All ranks leave together; that they have saved and want to be run again, is said by the job's
    folder.
    """
    reason = requests.reason or "another rank was asked"
    say(f"asked to stop ({reason}): saved at step {step}, ending")
    if rank == 0:
        reporter.send("stopped", step=step, reason=reason)
        job.mark_stopped(reporter.attempt, f"{reason}, step {step}")
    dist.barrier()
    sys.stdout.flush()
    # torchrun would print a failure's traceback for any other code; elsewhere the code is a second word for the same.
    os._exit(0 if "TORCHELASTIC_RUN_ID" in os.environ else STOPPED)


class Clock:
    """Sends progress at most every ``PROGRESS_SECONDS``."""

    def __init__(self, step: int, tokens: int, counts: str, meter: EnergyMeter) -> None:
        self.counts, self.meter = counts, meter
        self.began = self.last = time.monotonic()
        self.step, self.tokens = step, tokens

    def report(self, reporter: Reporter, say: Say, steps: int, row: MetricsRow) -> None:
        now, step = time.monotonic(), int(row["step"])
        if now - self.last < PROGRESS_SECONDS and step < steps:
            return
        self.last = now
        rate = (row["tokens"] - self.tokens) / (now - self.began)
        eta = (now - self.began) / (step - self.step) * (steps - step)
        reporter.send(
            "progress",
            steps=steps,
            eta_s=eta,
            joules=self.meter.joules(),
            energy_from=self.meter.sources,
            counts=self.counts,
            **{**row, "tokens_per_s": rate},
        )
        say(f"step {step}/{steps}  loss {row['loss']:.4f}  {rate:,.0f} {self.counts}/s  {eta:.0f} s left")


def sayer(rank: int) -> Say:
    return lambda text: print(text, flush=True) if rank == 0 else None


def writer_lock(job: JobFolder, rank: int) -> TextIOBase | None:
    """Held by rank 0 while it lives: a second set of ranks for the same job must not write."""
    if rank != 0:
        return None
    stream = (job.path / "writer.lock").open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"another process is already running this job ({job.fingerprint})") from None
    return stream


def die_with_launcher() -> None:
    """Leave when torchrun is gone: a rank that lived on would train for nobody."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
