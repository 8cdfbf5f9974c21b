"""Pre-train one run: a job's program, started by torchrun, or one process a rank under Slurm.

Reads top to bottom: build, resume from the newest sound checkpoint, then for every step gather its samples, accumulate,
step, record, and save where the recipe says so. What step k sees, and the learning rate it uses, are functions of k
alone (``data_order``, ``schedule``); everything that is not is in the checkpoint. A run that was killed anywhere and
started again ends with the same bits, at the same world size and on the same kind of machine, at the cost of the steps
since the last checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
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

from neo_assets.core.errors import DamagedArtifact
from neo_assets.core.jobs import STOPPED, JobFolder, Reporter, RunningJob
from neo_assets.core.store import Manifest, read_manifest
from training import attention, recorder
from training.batches import Batches, open_batches
from training.certificate import chained, read_certificate, start_of_history
from training.checkpoint import Checkpoints, MetricsRow, Progress, damage
from training.control import HangWatch, StopRequests
from training.energy import EnergyMeter
from training.engine import build_engine, rate_of, seed_everything, set_rate, start_process_group
from training.foreign import content_digest, foreign_weights
from training.ledger import RunLedger
from training.machine import Machine, device_name, differences
from training.model import build_model, recompute
from training.schedule import learning_rate
from training.spec import PretrainConfig, Start
from training.streams import stream_facts
from training.trackers import Trackers
from training.weights import master_weights, universal

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

PROGRESS_SECONDS = 5.0


def optimizer_step(
    engine: DeepSpeedEngine, batches: Batches, step: int, rate: float, flag: bool = False
) -> tuple[float, int, bool]:
    """One global batch: forward, backward and update. Collective.

    Returns (mean loss over the step's labelled tokens in nats, their number, whether any rank raised ``flag``).
    """
    sequences = batches.sequences(step)
    trained = batches.stream.trained_tokens(sequences)
    told = torch.zeros(2, dtype=torch.float64, device=batches.device)
    told[1] = flag
    set_rate(engine, rate)
    for index in range(batches.run.accumulation):
        inputs, labels = batches.micro(sequences, index)
        loss = engine(**inputs, labels=labels)
        # DeepSpeed divides by accumulation steps and averages over ranks; this makes the gradient that of the mean over
        # the step's tokens.
        engine.backward(loss * (batches.run.accumulation * batches.run.data_parallel / trained))
        engine.step()
        told[0] += loss.detach().double()
    dist.all_reduce(told)
    total, flags = told.tolist()
    return total / trained, trained, flags > 0


def train(running: RunningJob) -> None:
    """Run the job to its end, or until it is asked to stop. Collective over all ranks."""
    job = running.folder
    config = PretrainConfig.model_validate(running.spec.config).at(job.root)
    run, shards = config.run, Path(running.spec.inputs["token_shards"])
    torch.set_num_threads(run.threads_per_rank)
    rank, world, device, machine_line = start_process_group(run.deterministic)
    say = _sayer(rank)
    if world != run.ranks:
        raise SystemExit(f"the recipe says {run.ranks} ranks, {world} were started")
    lock = _writer_lock(job, rank)
    reporter = Reporter(job.path if rank == 0 else None)
    watch = HangWatch(job.path / "stacks", rank, run.hang_after_s)
    requests = StopRequests(job, rank)
    rung = attention.choose(run.attention, device, run.precision, run.across_documents)
    machine = Machine(device_name(device), rung, world, run.threads_per_rank, run.deterministic)
    exact = (
        "" if run.deterministic else "\ndeterministic: false; killed and resumed, this run does not give the same bits"
    )
    say(
        f"machine: {machine_line}{exact}\nattention: {rung}"
        + "".join(f"; not {name}: {lack}" for name, lack in attention.available(device, run.precision).items() if lack)
    )

    batches = open_batches(shards, config, rank, device, rung)
    checkpoints = Checkpoints(
        config,
        running,
        rank,
        machine,
        str(stream_facts(shards)["digest"]),
        lambda manifest: _announce(reporter, manifest),
    )
    engine, progress = _begin(config, checkpoints, job, machine, reporter, say)
    trackers = Trackers(run.trackers, config.run_name, job.path) if rank == 0 else None
    epochs = (config.last_step - config.first_step) * run.global_batch / batches.stream.sequences
    say(
        f"{sum(p.numel() for p in engine.module.parameters()):,} parameters, {batches.stream.sequences:,} sequences of"
        f" {run.sequence_length}, {epochs:.2f} epochs; from step {progress.step}"
    )

    save_at = set(run.checkpoint_steps()) | {config.last_step}
    black_box = recorder.FlightRecorder(run.on_trouble)
    step, tokens, history, rows = progress.step, progress.tokens, progress.history, list(progress.rows)
    clock = _Clock(step, tokens, EnergyMeter())
    while step < config.last_step:
        watch.alive()
        began = time.monotonic()
        rate = learning_rate(run.schedule, step)
        loss, trained, stop = optimizer_step(engine, batches, step, rate, requests.here())
        norm = float(engine.get_global_grad_norm() or 0.0)
        step, tokens = step + 1, tokens + trained
        row: MetricsRow = {
            "step": step,
            "loss": loss,
            "lr": rate_of(engine),
            "grad_norm": norm,
            "tokens": tokens,
            "tokens_per_s": trained / (time.monotonic() - began),
        }
        rows.append(row)
        if trouble := black_box.judge(step, loss, norm):
            _report_trouble(trouble, config, shards, job, reporter, say, rank)
            if trouble.stops:
                checkpoints.settle()  # the one before may still be on its way to the disk
                raise SystemExit(_how_to_go_on(trouble, config))
        history = chained(history, row)
        clock.report(reporter, say, config.last_step, row)
        if trackers:
            trackers.log(row)
        checkpoints.check()
        now, upcoming = Progress(step, tokens, history, rows), int(batches.samples(step)[0])
        if step in save_at:
            checkpoints.save(engine, now, upcoming)
            rows = []
        elif stop:
            checkpoints.save(engine, now, upcoming, rescue=True)
        if stop and step < config.last_step:
            checkpoints.settle()
            _leave(job, requests, step, reporter, say, rank)
    watch.alive()
    checkpoints.settle()
    say(f"done: step {step}, {tokens:,} trained tokens")
    reporter.send("done", step=step, tokens=tokens)
    if trackers:
        trackers.close()
    if lock is not None:
        lock.close()
    watch.close()
    dist.destroy_process_group()


# ------------------------------------------------------------------ where it starts


def _begin(
    config: PretrainConfig,
    checkpoints: Checkpoints,
    job: JobFolder,
    machine: Machine,
    reporter: Reporter,
    say: Callable[[str], None],
) -> tuple[DeepSpeedEngine, Progress]:
    """The engine, in the state of the newest sound checkpoint of this run, or of what the run starts from."""
    run, start = config.run, config.start
    found = _newest(checkpoints, reporter, say)
    if start is not None and (found is None or found[0] == config.first_step):
        _refuse_damaged(start, checkpoints.rank)
    seed_everything(run.seed)
    model = build_model(run.model, config.vocab_rows, seed=run.seed, attention=machine.attention)
    recompute(model.train(), run.recompute)
    if start is not None and start.take == "weights":
        # Under bf16 DeepSpeed's masters begin as rounded weights: as the parent was published, and as Megatron's
        # --finetune loads it.
        model.load_state_dict(
            foreign_weights(Path(start.folder)) if start.foreign else master_weights(Path(start.folder)), strict=True
        )
        say(f"weights of {Path(start.folder).name}")
    if found is not None and found[0] > config.first_step:
        engine = build_engine(model, run)
        certificate = read_certificate(found[1])
        _refuse_another_machine(certificate.machine, machine, found[1].name, config)
        return engine, checkpoints.progress(found[1], checkpoints.load(engine, found[1]))
    if start is not None and start.take == "everything":
        engine, progress = _branch(start, model, config, checkpoints, job, machine, say)
    else:
        # Step 0 holds freshly built weights: building them again from the seed is the same, and has no optimizer state
        # to restore.
        engine, progress = build_engine(model, run), Progress(0, 0, start_of_history(), [])
    if not checkpoints.folder(config.first_step).is_dir():
        # What the run starts from is committed before its first random draw.
        checkpoints.save(engine, progress, config.start_sample)
        checkpoints.settle()
    return engine, progress


def _branch(
    start: Start,
    model: torch.nn.Module,
    config: PretrainConfig,
    checkpoints: Checkpoints,
    job: JobFolder,
    machine: Machine,
    say: Callable[[str], None],
) -> tuple[DeepSpeedEngine, Progress]:
    """Weights, optimizer and position of another run's checkpoint, for this world size. Its loss
    history goes on, too.
    """
    folder = Path(start.folder)
    certificate = read_certificate(folder)
    same = (
        certificate.machine.get("world_size") == machine.world_size
        and certificate.zero_stage == config.run.zero_stage
        and certificate.precision == config.run.precision
    )
    if same:
        engine = build_engine(model, config.run)
        checkpoints.load(engine, folder)
    else:
        say(
            f"{folder.name} was saved by {certificate.machine.get('world_size')} ranks, ZeRO {certificate.zero_stage}:"
            f" converting it for {machine.world_size} ranks, ZeRO {config.run.zero_stage}"
        )
        converted = universal(folder, job.path / "universal", checkpoints.rank)
        engine = build_engine(model, config.run, load_universal=True)
        checkpoints.load(engine, converted, same_world=False)
    engine.micro_steps = 0  # another batch has another number of micro-batches a step
    say(
        f"goes on from {folder.name}"
        + "".join(f"; {line}" for line in differences(certificate.machine, machine.plain()))
    )
    return engine, Progress(certificate.step, certificate.trained_tokens, certificate.history_digest, [])


def _newest(checkpoints: Checkpoints, reporter: Reporter, say: Callable[[str], None]) -> tuple[int, Path] | None:
    """The newest sound checkpoint of this run, the same on every rank; all that are there are announced."""
    chosen: list[tuple[int, Path] | None] = [None]
    if checkpoints.rank == 0:
        chosen = [checkpoints.last_sound(say)]
        for _, folder in checkpoints.committed():
            with contextlib.suppress(DamagedArtifact):  # set aside by whoever needs it
                _announce(reporter, read_manifest(folder))
    dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _refuse_damaged(start: Start, rank: int) -> None:
    """Raises SystemExit on every rank where what the run starts from is not what it was when the run was asked for."""
    folder = Path(start.folder)
    problem: list[str | None] = [None]
    if rank == 0 and start.foreign:
        problem = [
            None if content_digest(folder) == start.digest else "its files have changed since the run was asked for"
        ]
    elif rank == 0:
        problem = [damage(folder)]
    dist.broadcast_object_list(problem, src=0)
    if problem[0] is not None:
        raise SystemExit(f"{folder}, which this run starts from, is damaged: {problem[0]}")


def _refuse_another_machine(
    before: dict[str, object], machine: Machine, checkpoint: str, config: PretrainConfig
) -> None:
    """Other hardware or another kernel would go on without an error and end with other bits."""
    if changed := differences(before, machine.plain()):
        raise SystemExit(
            f"checkpoint {checkpoint} was made on another kind of machine ({'; '.join(changed)}): going on here would"
            " not give the bits it would give there. Run it where it began, or ask for a branch: neo continue"
            f" {config.run_name}"
        )


# ------------------------------------------------------------------ what it tells


def _announce(reporter: Reporter, manifest: Manifest) -> None:
    reporter.send(
        "checkpoint", name=manifest.fingerprint, digest=manifest.digest, seconds=manifest.seconds, **manifest.numbers
    )


def _report_trouble(
    trouble: recorder.Trouble,
    config: PretrainConfig,
    shards: Path,
    job: JobFolder,
    reporter: Reporter,
    say: Callable[[str], None],
    rank: int,
) -> None:
    if rank != 0:
        return
    ledger = RunLedger.of(config, shards)
    samples = ledger.samples(trouble.step, trouble.step)
    seen = (
        ledger.saw(trouble.step, trouble.step)
        .group_by(["doc_id", "source"], use_threads=False)
        .aggregate([])
        .to_pylist()
    )
    full = trouble.model_copy(update={"samples": [int(samples[0]), int(samples[-1]) + 1], "documents": seen})
    file = recorder.keep(full, job.path)
    reporter.send(
        "trouble",
        step=trouble.step,
        kind=trouble.kind,
        value=trouble.value,
        median=trouble.median,
        stops=trouble.stops,
        documents=len(seen),
    )
    usual = "" if trouble.median is None else f", usually {trouble.median:.4g}"
    say(
        f"step {trouble.step}: {trouble.kind.replace('_', ' ')} ({trouble.value}{usual}); its {len(seen)} documents are"
        f" in {file}"
    )


def _how_to_go_on(trouble: recorder.Trouble, config: PretrainConfig) -> str:
    before = max(s for s in config.run.checkpoint_steps() if s < trouble.step)
    return (
        f"stopped at step {trouble.step}: {trouble.kind.replace('_', ' ')}. No checkpoint was written of it; the last"
        f" one is step {before}. Leave its batch out: neo continue {config.run_name}@{before} --without-steps"
        f" {trouble.step}"
    )


def _leave(
    job: JobFolder, requests: StopRequests, step: int, reporter: Reporter, say: Callable[[str], None], rank: int
) -> None:
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


class _Clock:
    """Sends progress at most every ``PROGRESS_SECONDS``."""

    def __init__(self, step: int, tokens: int, meter: EnergyMeter) -> None:
        self.meter = meter
        self.began = self.last = time.monotonic()
        self.step, self.tokens = step, tokens

    def report(self, reporter: Reporter, say: Callable[[str], None], steps: int, row: MetricsRow) -> None:
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
            **{**row, "tokens_per_s": rate},
        )
        say(f"step {step}/{steps}  loss {row['loss']:.4f}  {rate:,.0f} tokens/s  {eta:.0f} s left")


def _sayer(rank: int) -> Callable[[str], None]:
    return lambda text: print(text, flush=True) if rank == 0 else None


def _writer_lock(job: JobFolder, rank: int) -> TextIOBase | None:
    """Held by rank 0 while it lives: a second set of ranks for the same job must not write."""
    if rank != 0:
        return None
    stream = (job.path / "writer.lock").open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"another process is already running this job ({job.fingerprint})") from None
    return stream


def _die_with_launcher() -> None:
    """Leave when torchrun is gone: a rank that lived on would train for nobody."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(job: RunningJob) -> None:
    _die_with_launcher()
    train(job)
