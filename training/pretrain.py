"""Pre-train one run: ``torchrun -m training.pretrain spec.json``.

Reads top to bottom: build, resume from the newest sound checkpoint, then for every step gather its samples, accumulate, step, record,
and save where the recipe says so. What step k sees, and the learning rate it uses, are functions of k alone (``data_order``,
``schedule``); everything that is not is in the checkpoint. A run that was killed anywhere and started again ends with the
same bits, at the same world size, at the cost of the steps since the last checkpoint.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.jobs import JobSpec, Reporter
from neo_assets.core.store import MANIFEST, Manifest
from training.checkpoint import Checkpoints
from training.data_order import IGNORED, DataOrder, TokenStream
from training.engine import build_engine, seed_everything, start_process_group
from training.model import build_model
from training.schedule import LearningRate
from training.spec import PretrainConfig

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

    from neo_assets.core.recipe.model import Run

PROGRESS_SECONDS = 5.0


class Batches:
    """This rank's share of every global batch."""

    def __init__(self, stream: TokenStream, order: DataOrder, config: PretrainConfig, rank: int, device: torch.device) -> None:
        self.stream, self.order, self.run = stream, order, config.run
        self.rank, self.device = rank, device
        self.accumulation = self.run.global_batch // (self.run.micro_batch * self.run.data_parallel)

    def sequences(self, step: int) -> list[int]:
        """Sequences of the whole global batch of a step, whatever the number of ranks."""
        first = step * self.run.global_batch
        return [self.order.sequence_of(k) for k in range(first, first + self.run.global_batch)]

    def trained_tokens(self, sequences: list[int]) -> int:
        return sum(self.stream.trained_tokens(s) for s in sequences)

    def micro(self, sequences: list[int], index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(input ids, labels, position ids) of micro-batch ``index``: int64, shape (micro batch, sequence length)."""
        begin = (index * self.run.data_parallel + self.rank) * self.run.micro_batch
        examples = [self.stream.example(s) for s in sequences[begin : begin + self.run.micro_batch]]
        ids, labels, positions = (torch.stack([torch.from_numpy(e[i]) for e in examples]).to(self.device) for i in range(3))
        return ids, labels, positions


def summed_loss(model: torch.nn.Module, ids: torch.Tensor, labels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats, summed over labelled positions, in fp32. No cache: with one, transformers would let documents see each other."""
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def optimizer_step(engine: DeepSpeedEngine, batches: Batches, step: int) -> tuple[float, int]:
    """One global batch: forward, backward and update. Returns (mean loss over the step's labelled tokens in nats, their number). Collective."""
    sequences = batches.sequences(step)
    trained = batches.trained_tokens(sequences)
    total = torch.zeros((), dtype=torch.float64, device=batches.device)
    for index in range(batches.accumulation):
        loss = summed_loss(engine, *batches.micro(sequences, index))
        # DeepSpeed divides by accumulation steps and averages over ranks; this makes the gradient that of the mean over the step's tokens.
        engine.backward(loss * (batches.accumulation * batches.run.data_parallel / trained))
        engine.step()
        total += loss.detach().double()
    dist.all_reduce(total)
    return total.item() / trained, trained


def train(spec: JobSpec, job_folder: Path) -> None:
    """Run the job described by ``spec`` to its end. Collective over all ranks."""
    config = PretrainConfig.model_validate(spec.config)
    run = config.run
    torch.set_num_threads(run.threads_per_rank)
    rank, world, device, machine = start_process_group()
    _refuse_what_this_program_cannot(run, world)
    reporter = Reporter(job_folder if rank == 0 else None)
    say = _sayer(rank)
    lock = _writer_lock(job_folder, rank)
    say(f"machine: {machine}")

    seed_everything(run.seed)
    model = build_model(run.model, config.vocab_rows, seed=run.seed)
    model.train()
    engine = build_engine(model, run)
    batches = _batches(Path(spec.inputs["token_shards"]), config, rank, device)
    checkpoints = Checkpoints(config, rank)
    step, tokens, history = _resume(checkpoints, engine, reporter, say)
    epochs = run.steps * run.global_batch / batches.stream.sequences
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters, {batches.stream.sequences:,} sequences of {run.sequence_length}, {epochs:.2f} epochs; from step {step}")

    save_at = set(run.checkpoint_steps())
    rates = LearningRate(run.schedule)
    metrics: list[dict[str, float | int]] = []
    if step == 0 and not checkpoints.folder(0).is_dir():
        # The untrained checkpoint is committed before the first random draw of training.
        _announce(reporter, checkpoints.save(engine, 0, 0, [], history))
        history = _history(checkpoints, 0)
    clock = _Clock(step, tokens)
    while step < run.steps:
        began = time.monotonic()
        loss, trained = optimizer_step(engine, batches, step)
        norm = engine.get_global_grad_norm()
        step, tokens = step + 1, tokens + trained
        rate = trained / (time.monotonic() - began)
        metrics.append({"step": step, "loss": loss, "lr": rates.rate(step - 1), "grad_norm": float(norm) if norm is not None else 0.0, "tokens": tokens, "tokens_per_s": rate})
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss} at step {step}: stopping before a checkpoint is written")
        clock.report(reporter, say, step, run.steps, tokens, loss)
        if step in save_at:
            manifest = checkpoints.save(engine, step, tokens, metrics, history)
            history = _history(checkpoints, step)
            metrics = []
            _announce(reporter, manifest)
    say(f"done: step {step}, {tokens:,} trained tokens")
    dist.barrier()
    reporter.send("done", step=step, tokens=tokens)
    if lock is not None:
        lock.close()
    dist.destroy_process_group()


def _refuse_what_this_program_cannot(run: Run, world: int) -> None:
    if world != run.ranks:
        raise SystemExit(f"the recipe says {run.ranks} ranks, {world} were started")
    if run.tensor_parallel != 1:
        raise SystemExit("tensor_parallel is in the recipe for planning; this program trains with tensor_parallel 1 only")


def _batches(shards: Path, config: PretrainConfig, rank: int, device: torch.device) -> Batches:
    facts = json.loads((shards / "stream.json").read_text(encoding="utf-8"))
    stream = TokenStream(shards, config.run.sequence_length, facts["dtype"])
    return Batches(stream, DataOrder(stream.sequences, config.run.seed, facts["digest"]), config, rank, device)


def _resume(checkpoints: Checkpoints, engine: DeepSpeedEngine, reporter: Reporter, say: Callable[[str], None]) -> tuple[int, int, str]:
    """Restore the newest sound checkpoint on every rank and announce all that are there. Returns (step, tokens, history digest)."""
    chosen: list[tuple[int, Path] | None] = [None]
    if checkpoints.rank == 0:
        chosen = [checkpoints.last_sound(say)]
        for _, folder in checkpoints.committed():
            _announce(reporter, Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8")))
    dist.broadcast_object_list(chosen, src=0)
    found = chosen[0]
    if found is None:
        return 0, 0, digest_json([])
    if found[0] == 0:
        # Step 0 holds freshly built weights: building them again from the seed is the same, and has no optimizer state to restore.
        return 0, 0, _history(checkpoints, 0)
    return checkpoints.load(engine, found[1])


def _history(checkpoints: Checkpoints, step: int) -> str:
    certificate = json.loads((checkpoints.folder(step) / "certificate.json").read_text(encoding="utf-8"))
    return str(certificate["history_digest"])


def _announce(reporter: Reporter, manifest: Manifest | None) -> None:
    if manifest is not None:
        reporter.send("checkpoint", name=manifest.fingerprint, digest=manifest.digest, seconds=manifest.seconds, **manifest.numbers)


class _Clock:
    """Sends progress at most every ``PROGRESS_SECONDS``."""

    def __init__(self, step: int, tokens: int) -> None:
        self.began = self.last = time.monotonic()
        self.step, self.tokens = step, tokens

    def report(self, reporter: Reporter, say: Callable[[str], None], step: int, steps: int, tokens: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.last < PROGRESS_SECONDS and step < steps:
            return
        self.last = now
        rate = (tokens - self.tokens) / (now - self.began)
        eta = (now - self.began) / (step - self.step) * (steps - step)
        reporter.send("progress", step=step, steps=steps, loss=loss, tokens=tokens, tokens_per_s=rate, eta_s=eta)
        say(f"step {step}/{steps}  loss {loss:.4f}  {rate:,.0f} tokens/s  {eta:.0f} s left")


def _sayer(rank: int) -> Callable[[str], None]:
    return lambda text: print(text, flush=True) if rank == 0 else None


def _writer_lock(job_folder: Path, rank: int) -> TextIOBase | None:
    """Held by rank 0 while it lives: a second set of ranks for the same job must not write."""
    if rank != 0:
        return None
    stream = (job_folder / "writer.lock").open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"another process is already running this job ({job_folder.name})") from None
    return stream


def _die_with_launcher() -> None:
    """Leave when torchrun is gone: a rank that lived on would train for nobody."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _die_with_launcher()
    spec_file = Path(sys.argv[1])
    train(JobSpec.model_validate_json(spec_file.read_text(encoding="utf-8")), spec_file.parent)
