"""The training loop, whatever is learned: started by torchrun, or one process a rank under Slurm.

Reads top to bottom: build, resume from the newest sound checkpoint, then for every step gather its samples, accumulate,
step, record, and save where the recipe says so. What step k sees, and the learning rate it uses, are functions of k
alone (``data/order``, ``schedule``); everything that is not is in the checkpoint. A run that was killed anywhere and
started again ends with the same bits, at the same world size and on the same kind of machine, at the cost of the steps
since the last checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from neo_assets.core.jobs import Reporter, RunningJob
from neo_assets.core.recipe.run import Run
from training import attention, recorder
from training.beginning import begin
from training.certificate import chained
from training.checkpoint import Checkpoints, MetricsRow, Progress
from training.control import HangWatch, StopRequests
from training.data.order import Integers
from training.energy import EnergyMeter
from training.engine import rate_of, set_rate, start_process_group
from training.machine import Machine, device_name
from training.objective import Objective, Opener, Where
from training.schedule import learning_rate
from training.spec import PretrainConfig
from training.telling import Clock, announce, how_to_go_on, leave, report_trouble, sayer, writer_lock
from training.trackers import Trackers

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

B = TypeVar("B")
M = TypeVar("M")


@dataclass(frozen=True)
class Stepped:
    """What came of a step: the mean loss over what the objective weighs, how much that was, and whether any rank raised
    its flag.
    """

    loss: float
    weight: int
    flagged: bool


def optimizer_step(
    engine: DeepSpeedEngine,
    objective: Objective[B, M],
    run: Run,
    samples: Integers,
    rate: float,
    flag: bool = False,
) -> Stepped:
    """One global batch, made of ``samples``: forward, backward and update. Collective."""
    batch = objective.batch(samples)
    weight = objective.weight(batch)
    told = torch.zeros(2, dtype=torch.float64, device=engine.device)
    told[1] = flag
    set_rate(engine, rate)
    for index in range(run.accumulation):
        loss = objective.loss(engine, objective.micro(batch, index))
        # DeepSpeed divides by accumulation steps and averages over ranks; this makes the gradient that of the mean over
        # the step's tokens.
        engine.backward(loss * (run.accumulation * run.data_parallel / weight))
        engine.step()
        told[0] += loss.detach().double()
    dist.all_reduce(told)
    total, flags = told.tolist()
    return Stepped(total / weight, weight, flags > 0)


def train(running: RunningJob, open_objective: Opener[Any, Any]) -> None:
    """Run the job to its end, or until it is asked to stop. Collective over all ranks."""
    job = running.folder
    config = PretrainConfig.model_validate(running.spec.config).at(job.root)
    run = config.run
    torch.set_num_threads(run.threads_per_rank)
    rank, world, device, machine_line = start_process_group(run.deterministic)
    say = sayer(rank)
    if world != run.ranks:
        raise SystemExit(f"the recipe says {run.ranks} ranks, {world} were started")
    lock = writer_lock(job, rank)
    reporter = Reporter(job.path if rank == 0 else None)
    watch = HangWatch(job.path / "stacks", rank, run.hang_after_s)
    requests = StopRequests(job, rank)
    rung = attention.choose(run.attention, device, run.precision, run.across_documents)
    machine = Machine(device_name(device), rung, world, run.threads_per_rank, run.deterministic)
    say(_described(machine_line, run, rung, device))

    objective = open_objective(config, running.spec.inputs, Where(rank, device, rung))
    checkpoints = Checkpoints(
        config, running, rank, machine, objective.digest, lambda manifest: announce(reporter, manifest)
    )
    engine, progress = begin(config, checkpoints, job, machine, reporter, say)
    trackers = Trackers(run.trackers, config.run_name, job.path) if rank == 0 else None
    parameters = sum(p.numel() for p in engine.module.parameters())
    say(f"{parameters:,} parameters, {objective.facts()}; from step {progress.step}")

    save_at = set(run.checkpoint_steps()) | {config.last_step}
    black_box = recorder.FlightRecorder(run.on_trouble)
    step, tokens, history, rows = progress.step, progress.tokens, progress.history, list(progress.rows)
    clock = Clock(step, tokens, config.counts, EnergyMeter())
    while step < config.last_step:
        watch.alive()
        began = time.monotonic()
        done = optimizer_step(
            engine, objective, run, objective.samples(step), learning_rate(run.schedule, step), requests.here()
        )
        norm = float(engine.get_global_grad_norm() or 0.0)
        step, tokens = step + 1, tokens + done.weight
        row: MetricsRow = {
            "step": step,
            "loss": done.loss,
            "lr": rate_of(engine),
            "grad_norm": norm,
            "tokens": tokens,
            "tokens_per_s": done.weight / (time.monotonic() - began),
        }
        rows.append(row)
        if trouble := black_box.judge(step, done.loss, norm):
            if rank == 0:
                taken = objective.samples(step - 1)
                found = trouble.model_copy(update={"samples": [int(taken[0]), int(taken[-1]) + 1]})
                report_trouble(found, objective.documents(step), job, reporter, say)
            if trouble.stops:
                checkpoints.settle()  # the one before may still be on its way to the disk
                raise SystemExit(how_to_go_on(trouble, config))
        history = chained(history, row)
        clock.report(reporter, say, config.last_step, row)
        if trackers:
            trackers.log(row)
        checkpoints.check()
        now, upcoming = Progress(step, tokens, history, rows), int(objective.samples(step)[0])
        if step in save_at:
            checkpoints.save(engine, now, upcoming)
            rows = []
        elif done.flagged:
            checkpoints.save(engine, now, upcoming, rescue=True)
        if done.flagged and step < config.last_step:
            checkpoints.settle()
            leave(job, requests, step, reporter, say, rank)
    watch.alive()
    checkpoints.settle()
    say(f"done: step {step}, {tokens:,} trained {config.counts}")
    reporter.send("done", step=step, tokens=tokens)
    if trackers:
        trackers.close()
    if lock is not None:
        lock.close()
    watch.close()
    dist.destroy_process_group()


def _described(machine: str, run: Run, rung: str, device: torch.device) -> str:
    """What the ranks run on, and why not with faster kernels."""
    exact = (
        "" if run.deterministic else "\ndeterministic: false; killed and resumed, this run does not give the same bits"
    )
    lacks = attention.available(device, run.precision).items()
    return f"machine: {machine}{exact}\nattention: {rung}" + "".join(
        f"; not {name}: {lack}" for name, lack in lacks if lack
    )
