"""``run_plan/‹run›``: what a run will cost and how its learning rate goes, before any GPU hour is spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from training.schedule import learning_rate

OPTIMIZER_BYTES = 12
"""Bytes a parameter in a mixed-precision AdamW state: fp32 master, two fp32 moments."""

HOURS_AT_FLOPS = {"cpu": 1e11, "gpu": 337e12}
"""Sustained FLOP/s a rank assumed for the estimate: a slow CPU core in bf16, and the paper's H800 (34 % of dense bf16)."""


class PlanInput(Section):
    name: str
    run: Run
    tokenizer: Tokenizer


def ids(tokenizer: Tokenizer) -> int:
    """Token ids of a tokenizer: its pieces and the special tokens after them."""
    return tokenizer.vocab_size + len(tokenizer.special_tokens)


def estimate(run: Run, tokenizer: Tokenizer) -> Row:
    """Everything about a run that follows from the recipe alone. Bytes, FLOPs (6ND), hours as an estimate."""
    rows = run.model.vocab_rows(ids(tokenizer))
    parameters = run.model.parameters(rows)
    tokens = run.steps * run.tokens_per_step
    flops = 6 * parameters * tokens
    bytes_a_checkpoint = parameters * ((2 if run.precision == "bf16" else 4) + OPTIMIZER_BYTES)
    device = "gpu" if run.nodes * run.ranks_per_node >= 8 else "cpu"
    return {
        "parameters": parameters,
        "embedding parameters": 2 * rows * run.model.hidden,
        "vocabulary rows": rows,
        "tokens a step": run.tokens_per_step,
        "steps": run.steps,
        "tokens": tokens,
        "nodes": run.nodes,
        "ranks a node": run.ranks_per_node,
        "micro-batches a step": run.global_batch // (run.micro_batch * run.data_parallel),
        "FLOPs (6ND)": float(flops),
        f"hours, at {HOURS_AT_FLOPS[device]:.3g} FLOP/s a rank": round(flops / (run.ranks * HOURS_AT_FLOPS[device]) / 3600, 3),
        "checkpoints": len(run.checkpoint_steps()),
        "bytes a checkpoint": bytes_a_checkpoint,
        "bytes of checkpoints": bytes_a_checkpoint * len(run.checkpoint_steps()),
    }


def plan_run(config: PlanInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """What this run will be: parameters, tokens, FLOPs, hours, storage, and its learning-rate curve, before it is started."""
    numbers = estimate(config.run, config.tokenizer)
    stream = inputs[f"token_shards/{config.run.phase}"].manifest.numbers
    available = int(str(stream["tokens"]))
    numbers["epochs"] = round(int(str(numbers["tokens"])) / max(1, available), 3)
    draw_schedule(config.run, out.path / "schedule.svg")
    out.write_text("plan.json", json.dumps(numbers, indent=1))
    return Outcome(
        digest=digest_json(numbers),
        numbers=numbers,
        pictures={"learning rate": "schedule.svg"},
        checks=[Check(name="one_sequence_at_least", passed=available > config.run.sequence_length, detail=f"{available:,} tokens for sequences of {config.run.sequence_length}")],
    )


def draw_schedule(run: Run, target: Path) -> None:
    """Learning rate over steps, as SVG."""
    from matplotlib.figure import Figure

    every = max(1, run.steps // 500)
    steps = list(range(run.first_step, run.steps, every))
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, [learning_rate(run.schedule, s) for s in steps])
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.grid(alpha=0.3)
    save_svg(figure, target)


def save_svg(figure: object, target: Path) -> None:
    """Write a figure as SVG without dates or random ids, so that the same figure is the same file."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "neofoundry"}):
        figure.savefig(target, format="svg", metadata={"Date": None})  # type: ignore[attr-defined]


def launch_command(recipe: Recipe, name: str) -> str:
    """The command that starts a run's job on the recipe's backend, spec file aside."""
    run = recipe.runs[name]
    torchrun = f"torchrun --nnodes={run.nodes} --nproc-per-node={run.ranks_per_node}"
    if recipe.compute.backend == "local":
        return f"{torchrun} --standalone -m training.pretrain spec.json"
    options = [f"--nodes={run.nodes}", "--ntasks-per-node=1", f"--gpus-per-node={run.ranks_per_node}", f"--cpus-per-task={run.ranks_per_node * run.threads_per_rank}"]
    options += [f"--{flag}={value}" for flag, value in (("partition", recipe.compute.partition), ("account", recipe.compute.account), ("time", recipe.compute.time_limit)) if value]
    return f"srun {' '.join(options)} {torchrun} --rdzv-backend=c10d --rdzv-endpoint=$HEAD_NODE:29500 -m training.pretrain spec.json"
