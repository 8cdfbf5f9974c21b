"""Tokens a second of the training job, with every certificate and ledger on, against a bare torch loop and Hugging
Face's Trainer.

``python -m benchmarks.throughput [PAIRS] [STEPS] [RANKS]``: the same model, tokens and batch in each, in turns (ours,
bare, Trainer, ours, …), one process after another. ``python -m torch.distributed.run --standalone --nproc-per-node=2
-m benchmarks.throughput shares``: what of a step's time goes to data, metrics and checkpoints. Ours is the real job:
torchrun, DeepSpeed, metrics, checkpoints, from its first step to its last commit. The others time their steps alone and
save nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.common import run_job
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.frozen import Claimed, claimed
from neo_assets.core.jobs import JobFolder, JobSpec, RunningJob
from neo_assets.core.launch import leave
from neo_assets.core.recipe import load
from neo_assets.core.recipe.run import Run
from tests.training.runs import write_shards
from training.spec import PretrainConfig

ROWS = 6016
CONTENDERS = ("ours", "bare", "trainer")


def the_run(precision: str, steps: int, ranks: int) -> Run:
    """The laptop recipe's run with two cores shared out among the ranks, a checkpoint every tenth of it."""
    run = load("laptop").runs["main"]
    changes = {
        "precision": precision,
        "steps": steps,
        "ranks_per_node": ranks,
        "threads_per_rank": 2 // ranks,
        "zero_stage": 1 if precision == "bf16" else 0,
        "checkpoint_every": max(1, steps // 10),
    }
    return Run.model_validate(run.model_dump() | changes)


def ours(run: Run, shards: Path, folder: Path) -> float:
    """Seconds from the first step to the last commit, as the job reports them."""
    config = PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=run, vocab_rows=ROWS)
    spec = JobSpec(
        work_fingerprint="f" * 32,
        title="pretraining/r",
        program="training.pretrain",
        **claimed("training.pretrain"),
        ranks_per_node=run.ranks_per_node,
        threads_per_rank=run.threads_per_rank,
        config=config.model_dump(),
        inputs={"token_shards": str(shards)},
        out="checkpoint",
    )
    messages = run_job(spec, folder).messages()[0]
    return messages[-1].at - next(m.at for m in messages if m.event == "checkpoint")


def other(name: str, precision: str, steps: int, shards: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", "run", name, precision, str(steps), str(shards)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


def plain_model(run: Run):  # type: ignore[no-untyped-def]
    """transformers' own class, with the weights that ours begins with."""
    from transformers import LlamaForCausalLM

    from training.model import build_model

    trained = build_model(run.model, ROWS, seed=1)
    model = LlamaForCausalLM(trained.config)
    model.load_state_dict(trained.state_dict())
    return model.train()


def bare(run: Run, shards: Path) -> float:
    """Seconds for the run's steps in a loop that a person would write: transformers' model, autocast, AdamW, no
    bookkeeping; documents kept apart as in ours.
    """
    import torch

    from training.data.token_stream import open_batches

    model = plain_model(run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    config = PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=run, vocab_rows=ROWS, checkpoints="")
    batches = open_batches(shards, config, 0, torch.device("cpu"), "sdpa")
    began = time.perf_counter()
    for step in range(run.steps):
        sequences = batches.sequences(step)
        for index in range(run.accumulation):
            inputs, labels = batches.micro(sequences, index)
            with torch.autocast("cpu", torch.bfloat16, enabled=run.precision == "bf16"):
                logits = model(**inputs).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100)
            (loss / run.accumulation).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def trainer(run: Run, shards: Path) -> float:
    """Seconds for the run's steps in transformers' Trainer, saving nothing."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from training.data.stream_files import open_order

    stream, _ = open_order(
        shards, PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=run, vocab_rows=ROWS, checkpoints="")
    )

    class Windows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return stream.sequences

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            ids, _, positions = stream.examples(np.array([index]))
            return {
                "input_ids": torch.from_numpy(ids[0]),
                "labels": torch.from_numpy(ids[0]),
                "position_ids": torch.from_numpy(positions[0]),
            }

    clock: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: object, **__: object) -> None:
            clock.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            max_steps=run.steps,
            per_device_train_batch_size=run.micro_batch,
            gradient_accumulation_steps=run.global_batch // run.micro_batch,
            bf16=run.precision == "bf16",
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            logging_strategy="no",
            disable_tqdm=True,
            learning_rate=1e-3,
        )
        Trainer(plain_model(run), arguments, train_dataset=Windows(), callbacks=[Clock()]).train()
    return time.perf_counter() - clock[0]


def compare(pairs: int, steps: int, ranks: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        shards = write_shards(Path(name) / "shards", tokens=400_000, documents=1200)
        for precision in ("bf16", "fp32"):
            run = the_run(precision, steps, ranks)
            tokens = run.steps * run.tokens_per_step
            rates: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
            for pair in range(pairs):
                for contender in CONTENDERS:
                    folder = Path(name) / f"{precision}{pair}"
                    seconds = (
                        ours(run, shards, folder) if contender == "ours" else other(contender, precision, steps, shards)
                    )
                    rates[contender].append(tokens / seconds)
            print(
                f"{precision}, {run.model.parameters(ROWS):,} parameters, {run.steps} steps of {run.tokens_per_step:,}"
                f" tokens, {ranks} rank(s) of {2 // ranks} thread(s); median of {pairs}"
            )
            for contender in CONTENDERS:
                ratios = sorted(a / b for a, b in zip(rates["ours"], rates[contender], strict=True))
                interval = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
                print(
                    f"  {contender:<8}{median(rates[contender]):10,.0f} tokens/s"
                    + (f"   ours is {median(ratios):.3f} times as fast ({interval})" if contender != "ours" else ""),
                    flush=True,
                )


def shares(steps: int = 30) -> None:
    """What data loading, bookkeeping and saving take of a step, timed one by one in the training program's own parts.
    Collective.
    """
    import torch
    import torch.distributed as dist

    from neo_assets.core.jobs import Reporter
    from training.certificate import chained, start_of_history
    from training.checkpoint import Checkpoints, Progress
    from training.data.token_stream import open_batches
    from training.engine import build_engine, start_process_group
    from training.loop import optimizer_step
    from training.machine import Machine
    from training.model import build_model
    from training.objectives.next_token import NextToken
    from training.recorder import FlightRecorder

    rank, world, device, _ = start_process_group()
    run = the_run("bf16", steps, world)
    torch.set_num_threads(run.threads_per_rank)
    names: list[str] = [tempfile.mkdtemp()] if rank == 0 else [""]
    dist.broadcast_object_list(names, src=0)
    folder = Path(names[0])
    if rank == 0:
        write_shards(folder / "shards", tokens=400_000, documents=1200)
    dist.barrier()
    config = PretrainConfig(run_name="r", run_fingerprint="f" * 32, run=run, vocab_rows=ROWS)
    engine = build_engine(build_model(run.model, ROWS, seed=1).train(), run)
    batches = open_batches(folder / "shards", config, rank, device, "sdpa")
    objective = NextToken(batches, "", lambda: None)
    spec = JobSpec(
        work_fingerprint="f" * 32, title="", program="", code={}, libraries={}, config={}, inputs={}, out=str(folder)
    )
    job = RunningJob(spec, JobFolder(folder), Claimed(code={}, libraries={}))
    checkpoints = Checkpoints(config, job, rank, Machine("d", "sdpa", world, run.threads_per_rank), "s", lambda _: None)
    reporter, recorder, history = (
        Reporter(folder if rank == 0 else None),
        FlightRecorder(run.on_trouble),
        start_of_history(),
    )
    spent: dict[str, list[float]] = {
        "step": [],
        "data": [],
        "bookkeeping": [],
        "save: standing still": [],
        "save: until committed": [],
        "step while one is written": [],
    }

    def timed(what: str, call):  # type: ignore[no-untyped-def]
        began = time.perf_counter()
        out = call()
        spent[what].append(time.perf_counter() - began)
        return out

    rows = []
    for step in range(steps):
        timed("data", lambda step=step: [batches.micro(batches.sequences(step), i) for i in range(run.accumulation)])
        saving = checkpoints.writing is not None and checkpoints.writing.busy()
        done = timed(
            "step while one is written" if saving else "step",
            lambda step=step: optimizer_step(engine, objective, run, objective.samples(step), 1e-3),
        )
        row = {
            "step": step + 1,
            "loss": done.loss,
            "lr": 1e-3,
            "grad_norm": 1.0,
            "tokens": done.weight,
            "tokens_per_s": 1.0,
        }
        rows.append(row)

        def keep(row=row):  # type: ignore[no-untyped-def]
            nonlocal history
            recorder.judge(row["step"], row["loss"], row["grad_norm"])
            history = chained(history, row)
            reporter.send("progress", **row)

        timed("bookkeeping", keep)
        if step % 10 == 9:
            began = time.perf_counter()
            timed(
                "save: standing still",
                lambda step=step: checkpoints.save(engine, Progress(step + 1, 1, history, list(rows)), 1),
            )
            if step == steps - 1:
                checkpoints.settle()
                spent["save: until committed"].append(time.perf_counter() - began)
    if rank == 0:
        base = median(spent["step"])
        print(f"{world} rank(s), {run.tokens_per_step:,} tokens a step")
        for what, values in spent.items():
            if values:
                print(f"  {what:<26}{median(values) * 1000:9.1f} ms   {median(values) / base:7.2%} of a step")
    dist.destroy_process_group()
    leave(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["shares"]:
        shares()
        sys.exit(0)
    if sys.argv[1:2] == ["run"]:
        import torch

        torch.set_num_threads(2)
        what, precision, steps, shards = sys.argv[2:]
        print({"bare": bare, "trainer": trainer}[what](the_run(precision, int(steps), 1), Path(shards)))
    else:
        numbers = [int(a) for a in sys.argv[1:]]
        compare(*(numbers + [5, 60, 1][len(numbers) :]))
