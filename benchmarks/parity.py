"""Every rung of the ladder that this machine has, against a plain torch loop in fp32: ``torchrun --standalone
--nproc-per-node=N -m benchmarks.parity [OUT.json]``.

For each ZeRO stage, precision and attention rung: the losses of the first steps, and how far apart the fp32 weights'
moves are from the plain loop's, relative to those (Euclidean norm over all weights). ZeRO 0 in bf16 is refused by the
recipe. tests/training/test_parity.py asserts the bounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from neo_assets.core.launch import leave
from neo_assets.core.recipe.run import Run
from tests.training.runs import ROWS, small_run, write_shards
from training.attention import available
from training.data.order import IGNORED, DataOrder, TokenStream
from training.data.token_stream import Batches
from training.engine import build_engine, seed_everything, start_process_group
from training.loop import optimizer_step
from training.model import build_model
from training.objectives.next_token import NextToken
from training.schedule import learning_rate

STEPS = 6


def plain_loop(
    run: Run, stream: TokenStream, order: DataOrder, device: torch.device
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same training in a dozen lines of torch: one process, whole batches, fp32. Returns (losses, how far each
    weight has moved).
    """
    whole = run.model_copy(update={"ranks_per_node": 1, "micro_batch": run.global_batch})
    model = build_model(run.model, ROWS, seed=run.seed, attention="eager").to(device).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    settings = run.optimizer
    matrices, vectors = [p for p in model.parameters() if p.ndim >= 2], [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(settings.beta1, settings.beta2), eps=settings.eps)
    batches = Batches(stream, order, whole, 0, 0, device, "eager")
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(run.schedule, step)
        sequences = batches.sequences(step)
        inputs, labels = batches.micro(sequences, 0)
        logits = model(**inputs).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        ) / stream.trained_tokens(sequences)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {n: p.detach() - before[n] for n, p in model.named_parameters()}


def masters(engine) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    """fp32 weights by name, wherever the engine's stage keeps them. Collective."""
    from deepspeed.utils import safe_get_full_fp32_param

    return {
        n: p.detach().clone() if engine.zero_optimization_stage() == 0 else safe_get_full_fp32_param(p).clone()
        for n, p in engine.module.named_parameters()
    }


def engine_loop(
    run: Run, stream: TokenStream, order: DataOrder, rank: int, device: torch.device, rung: str
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The training program's own step, on a fresh engine. Returns (losses, how far each fp32 weight has moved)."""
    seed_everything(run.seed)
    model = build_model(run.model, ROWS, seed=run.seed, attention=rung).train()
    engine = build_engine(model, run)
    objective = NextToken(Batches(stream, order, run, 0, rank, device, rung), "", lambda: None)
    before = masters(engine)
    losses = [
        optimizer_step(engine, objective, run, objective.samples(step), learning_rate(run.schedule, step)).loss
        for step in range(STEPS)
    ]
    after = masters(engine)
    engine.destroy()
    return losses, {n: after[n] - before[n] for n in after}


def rows() -> list[dict[str, object]]:
    """One row a combination. Collective."""
    torch.set_num_threads(1)
    rank, world, device, _ = start_process_group()
    out: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder) / "shards")
        stream = TokenStream(shards, 128, "uint16")
        order = DataOrder(stream.sequences, 1, "d")
        base = small_run(ranks_per_node=world, global_batch=8, micro_batch=4 // world)
        reference, moves = plain_loop(base, stream, order, device)
        moved = torch.cat([m.flatten() for m in moves.values()])
        combinations = [
            (stage, precision, "sdpa")
            for precision in ("fp32", "bf16")
            for stage in (0, 1, 2, 3)
            if stage or precision == "fp32"
        ]
        combinations += [
            (1, precision, rung)
            for precision in ("fp32", "bf16")
            for rung, lack in available(device, precision).items()
            if lack is None and rung != "sdpa"
        ]
        for stage, precision, rung in combinations:
            run = base.model_copy(update={"zero_stage": stage, "precision": precision})
            losses, mine = engine_loop(run, stream, order, rank, device, rung)
            apart = torch.cat([(mine[n] - moves[n]).flatten() for n in moves])
            out.append(
                {
                    "ranks": world,
                    "zero": stage,
                    "precision": precision,
                    "attention": rung,
                    "largest difference of a loss": max(abs(a - b) for a, b in zip(losses, reference, strict=True)),
                    "weights apart / moved": float(apart.norm() / moved.norm()),
                }
            )
    if rank:
        return []
    return out


if __name__ == "__main__":
    table = rows()
    if dist.get_rank() == 0:
        if len(sys.argv) > 1:
            Path(sys.argv[1]).write_text(json.dumps(table), encoding="utf-8")
        for line in table:
            print(
                "  ".join(f"{value:.2e}" if isinstance(value, float) else f"{value!s:>5}" for value in line.values()),
                flush=True,
            )
    dist.destroy_process_group()
    leave(0)
