"""``run_plan/‹run›``: what a run will cost and how its learning rate goes, before any GPU hour is spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Compute, Tokenizer
from neo_assets.core.recipe.run import Run
from neo_assets.core.scalars import whole
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.pages.charts import Line, Point, curves, write_picture
from training.schedule import learning_rate
from training.sizes import BUCKET, CHUNK

TOKENS_PER_S_PER_GPU = {7_793_716_224: 7_200}
"""Measured rates: MAP-Neo 7B on an H800 (paper, section 9)."""

ASSUMED_FLOPS = {"cpu": 1e11, "gpu": 337e12}
"""Sustained FLOP/s a rank assumed where no rate was measured: a slow CPU core in bf16, and the paper's H800 (34 % of
dense bf16).
"""

GIB = 1 << 30


class PlanInput(Section):
    name: str
    run: Run
    tokenizer: Tokenizer
    scored: bool = False  # a reward model


def ids(tokenizer: Tokenizer) -> int:
    """Token ids of a tokenizer: its pieces and the special tokens after them."""
    return tokenizer.vocab_size + len(tokenizer.special_tokens)


@dataclass(frozen=True)
class Memory:
    """Bytes a rank holds, by component (ZeRO, arXiv 1910.02054, section 3; bf16 with fp32 masters and accumulation, or
    all fp32).
    """

    weights: int
    gradients: int
    optimizer: int
    buckets: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.buckets + self.activations + self.logits


def memory(run: Run, rows: int, scored: bool = False, gpus: bool | None = None) -> Memory:
    """What a rank needs at the end of a forward pass; activations are those a Llama block keeps for its backward pass.

    Activations of a block, in values a token, as transformers' Llama keeps them (tests/runs/test_memory.py counts
    them): of each norm its input, the normed input and its output (under bf16 the input in fp32); queries, keys, values
    and the output of attention, whose kernels hold no attention matrix; of the SwiGLU the gate before and after its
    activation, the other branch, and the product. What is recomputed is kept for one block at a time. The loss is
    computed chunk by chunk: its logits are one chunk's.
    """
    model, share = run.model, run.data_parallel
    parameters = model.parameters(rows, scored)
    width = 2 if run.precision == "bf16" else 4
    weights = parameters * width // (share if run.zero_stage == 3 else 1)
    gradients, optimizer, buckets = beside_weights(run, parameters)
    tokens = run.micro_batch * run.sequence_length
    attention = model.head_dim * (2 * model.heads + 2 * model.kv_heads)
    normed = (4 if run.precision == "bf16" else 3) * model.hidden
    fed = 4 * model.ffn
    block = 2 * normed + attention + fed
    kept = {
        "none": model.layers * block,
        "selective": model.layers * (block - fed) + fed,
        "full": model.layers * model.hidden + block,
    }[run.recompute]
    activations = tokens * width * (kept + normed)
    gpus = on_gpus(run) if gpus is None else gpus
    logits = 0 if scored else CHUNK["cuda" if gpus else "cpu"] * rows * 4 * 2
    return Memory(weights, gradients, optimizer, buckets, activations, logits)


def beside_weights(run: Run, parameters: int) -> tuple[int, int, int]:
    """Bytes of gradients, of the optimizer's state, and of what is gathered for a reduction, as DeepSpeed holds them
    (tests/runs/test_memory.py counts them).

    Gradients are added up in fp32. ZeRO updates fp32 weights of its own, whatever the model's are. What is reduced is
    copied out of its bucket. Stage 1 under bf16 keeps a micro-batch's own gradients beside the sum; the sum, put
    together first where one bucket holds it, is reduced as bf16.
    """
    bf16, share, bucket = run.precision == "bf16", run.data_parallel, min(BUCKET, parameters)
    width = 2 if bf16 else 4
    if run.zero_stage == 0:
        return parameters * 4, parameters * 8, bucket * 4
    if run.zero_stage == 1:
        copied = parameters * (6 if parameters <= BUCKET else 2) if bf16 else bucket * 4
        return parameters * (6 if bf16 else 4), parameters * 12 // share, copied
    return parameters * 4 // share, parameters * 12 // share, bucket * width * 2


def on_gpus(run: Run, compute: Compute | None = None) -> bool:
    """Whether a run is planned for GPUs: where the recipe says that nodes have some, or by its ranks, since nobody
    starts eight CPU processes for one model.
    """
    return run.ranks >= 8 or (compute is not None and compute.gpus_per_node is not None)


def flops(run: Run, rows: int, tokens: int, scored: bool = False) -> float:
    """Forward and backward: six a parameter and token (an embedding table that is no output layer too is looked up, not
    multiplied), and attention's own products over the window.
    """
    looked_up = 0 if run.model.tied_embeddings and not scored else rows * run.model.hidden
    multiplied = run.model.parameters(rows, scored) - looked_up
    return (
        6.0 * multiplied * tokens
        + 6.0 * run.model.layers * run.model.heads * run.model.head_dim * run.sequence_length * tokens
    )


def estimate(run: Run, tokenizer: Tokenizer, compute: Compute | None = None, scored: bool = False) -> Row:
    """Everything about a run that follows from the recipe alone."""
    rows = run.model.vocab_rows(ids(tokenizer))
    parameters = run.model.parameters(rows, scored)
    steps = run.steps - run.first_step
    tokens = steps * run.tokens_per_step
    gpus = on_gpus(run, compute)
    held = memory(run, rows, scored, gpus)
    assumed = ASSUMED_FLOPS["gpu" if gpus else "cpu"]
    if gpus and compute is not None and compute.gpu_tflops is not None:
        assumed = compute.gpu_tflops * 1e12
    measured = TOKENS_PER_S_PER_GPU.get(parameters)
    rate = float(measured) if measured else assumed / (flops(run, rows, 1, scored) or 1)
    hours = tokens / (run.ranks * rate) / 3600
    checkpoint = parameters * (14 if run.precision == "bf16" else 12)
    steps_saved = run.checkpoint_steps()
    count = stay = len(steps_saved)
    if run.keep is not None:  # and those that are evaluated, which the recipe tells
        stay = len({*run.kept_steps(), *steps_saved[-run.keep.last :]})
    out: Row = {
        "parameters": parameters,
        "embedding parameters": rows * run.model.hidden if scored else run.model.embedding_parameters(rows),
        "vocabulary rows": rows,
        "starts from": (
            f"{run.parent.run}@{'last' if run.parent.step is None else run.parent.step}, {run.parent.take}"
            if run.parent
            else run.from_model or "scratch"
        ),
        "tokens a step": run.tokens_per_step,
        "steps": steps,
        "tokens": tokens,
        "nodes": run.nodes,
        "ranks a node": run.ranks_per_node,
        "micro-batches a step": run.accumulation,
        "FLOPs": flops(run, rows, tokens, scored),
        "FLOPs (6ND)": 6.0 * parameters * tokens,
        f"{'GPU' if gpus else 'rank'}: GiB in all": round(held.total / GIB, 3),
        **{
            f"  {name}, GiB": round(getattr(held, name) / GIB, 3)
            for name in ("weights", "gradients", "optimizer", "buckets", "activations", "logits")
        },
        f"tokens/s a rank, {'measured by the paper' if measured else 'assumed'}": round(rate, 1),
        "hours": round(hours, 3),
        "days": round(hours / 24, 2),
        "checkpoints": count,
        "bytes a checkpoint": checkpoint,
        **({} if run.keep is None else {"checkpoints that stay whole": stay}),
        "bytes of checkpoints": checkpoint * stay,
    }
    if compute is not None and compute.gpu_hour_cost is not None:
        out[f"cost, {compute.currency}"] = round(hours * run.ranks * compute.gpu_hour_cost, 2)
    return out


def instantiated_parameters(run: Run, tokenizer: Tokenizer, scored: bool = False) -> int:
    """Parameters of the model itself, built on torch's meta device: no memory, no numbers, the real class."""
    import torch

    from training.model import ScoredLlama, TrainedLlama, llama_config, scored_config

    told = llama_config(run.model, run.model.vocab_rows(ids(tokenizer)))
    with torch.device("meta"):
        built = ScoredLlama(scored_config(told)) if scored else TrainedLlama(told)
        return sum(p.numel() for p in built.parameters())


def plan_run(config: PlanInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """What this run will be: parameters, tokens, FLOPs, hours, storage, and its learning-rate curve, before it is
    started.
    """
    numbers = estimate(config.run, config.tokenizer, scored=config.scored)
    (stream,) = inputs.values()
    available = whole(stream.manifest.numbers["tokens"])
    built = instantiated_parameters(config.run, config.tokenizer, config.scored)
    numbers["epochs"] = round(whole(numbers["tokens"]) / max(1, available), 3)
    draw_schedule(config.run, out.path / "schedule.svg")
    out.write_text("plan.json", json.dumps(numbers, indent=1))
    return Outcome(
        digest=digest_json(numbers),
        numbers=numbers,
        pictures={"learning rate": "schedule.svg"},
        checks=[
            Check(
                name="parameters_agree",
                passed=built == numbers["parameters"],
                detail=f"{built:,} in the model, {numbers['parameters']:,} by the formula",
            ),
            Check(
                name="one_sequence_at_least",
                passed=available > config.run.sequence_length,
                detail=f"{available:,} tokens for sequences of {config.run.sequence_length}",
            ),
        ],
    )


def draw_schedule(run: Run, target: Path) -> None:
    """Learning rate over steps, as SVG."""
    steps = range(run.first_step, run.steps, max(1, run.steps // 500))
    points = [Point(step, learning_rate(run.schedule, step)) for step in steps]
    write_picture(curves("learning rate", [Line(points)], "step"), target)
