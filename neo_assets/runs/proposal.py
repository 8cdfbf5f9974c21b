"""A run for so many GPUs and hours: model, tokens, batch, rate, checkpoints, each with where it comes from.

Nothing is searched: the rules are other people's, named beside each number, and what comes out is a run of a recipe,
which can be read, changed and refused like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.recipe.run import Run
from neo_assets.core.store import Row
from neo_assets.runs.plan import GIB, flops, ids, memory

TOKENS_A_PARAMETER = 20.0
"""Hoffmann and others (2203.15556), where no law of the recipe's own reaches so far."""
BATCH, RATE = (0.2920, 0.3271), (0.3118, -0.1250)
"""Tokens a step and peak rate by the budget C in FLOPs, a·C^b: DeepSeek LLM (2401.02954, section 3.1)."""
FILLED = 0.85
"""Share of a GPU's memory that is planned with: the rest is for what the allocator and NCCL take."""
CHECKPOINTS = 20
"""Of a run, where the disk has room."""
WARMUP = 0.01
LEAST_RATE = 0.1
"""Of the steps, and of the peak rate: as most published recipes have it."""
NARROW = 1024
"""Hidden width below which heads have 64 values, as in GPT-2; from there on 128, as in Llama."""


@dataclass(frozen=True)
class Asked:
    """``rate``: FLOP/s that a GPU sustains; ``disk``: bytes for checkpoints, None: enough."""

    gpus: int
    hours: float
    rate: float
    gpu_bytes: float
    disk: float | None = None
    parameters: float | None = None  # by a law of the recipe's own
    embeddings_count: bool = True  # among these parameters


def propose(asked: Asked, base: Run, tokenizer: Tokenizer) -> tuple[Run, list[Row]]:
    """(the run, why each number is what it is). What is not told here is the base run's.

    Raises:
        BadInput: more than one node that is not whole, a model that no GPU holds, so few hours that no model is so
            small, or a disk without room for two checkpoints.
    """
    if asked.gpus > 8 and asked.gpus % 8:
        raise BadInput(f"--gpus {asked.gpus}: up to 8, or whole nodes of 8")
    budget = asked.gpus * asked.hours * 3600 * asked.rate
    wanted = asked.parameters or math.sqrt(budget / (6 * TOKENS_A_PARAMETER))
    rows = base.model.vocab_rows(ids(tokenizer))
    shaped = _with_shape(base, wanted, rows, asked.embeddings_count or asked.parameters is None)
    told: dict[str, Any] = shaped.model_dump() | {
        "nodes": max(1, asked.gpus // 8),
        "ranks_per_node": min(8, asked.gpus),
        "precision": "bf16",
        "parent": None,
        "from_model": None,
        "optimizer": {"kind": "adamw", "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0},
        "skip_samples": [],
        "early_checkpoints": 0,
    }
    sequences = max(1.0, BATCH[0] * budget ** BATCH[1] / base.sequence_length)
    told |= _fitting(asked, told, rows, sequences)
    share = told["micro_batch"] * asked.gpus
    told["global_batch"] = share * max(1, round(sequences / share))
    step = told["global_batch"] * base.sequence_length
    steps = max(1, int(budget / flops(shaped, rows, step)))
    size = shaped.model.parameters(rows) * 14
    count = CHECKPOINTS if asked.disk is None else min(CHECKPOINTS, int(asked.disk // size))
    if count < 2:
        raise BadInput(f"--disk: two checkpoints take {2 * size / 1e9:,.0f} GB")
    peak = float(f"{RATE[0] * budget ** RATE[1]:.2g}")
    told |= {"steps": steps, "checkpoint_every": -(-steps // (count - 1))}
    told["schedule"] = {
        "kind": "cosine",
        "peak_lr": peak,
        "min_lr": float(f"{peak * LEAST_RATE:.2g}"),
        "warmup_steps": max(1, round(WARMUP * steps)),
        "decay_steps": steps,
    }
    run = Run.model_validate(told)
    return run, _why(asked, run, rows, budget)


def _with_shape(base: Run, parameters: float, rows: int, embeddings: bool) -> Run:
    """The base run with a model of about so many parameters, with or without embeddings: the nearest count, and of
    those within 5 % the one whose width and depth are nearest to what is usual for its size.
    """
    found = []
    for hidden in range(128, 16384 + 1, 128):
        head = 64 if hidden < NARROW else 128
        ffn = 256 * max(1, round(hidden * 8 / 3 / 256))
        shape = {"hidden": hidden, "heads": hidden // head, "kv_heads": hidden // head, "head_dim": head, "ffn": ffn}
        for layers in range(2, 129):
            model = base.model.model_copy(update=shape | {"layers": layers, "zero_outputs": False})
            left_out = 0 if embeddings else model.embedding_parameters(rows)
            off = abs(math.log((model.parameters(rows) - left_out) / parameters))
            usual = min(128.0, max(48.0, 64 * (parameters / 1.25e8) ** 0.17))
            found.append((max(off, 0.05), abs(math.log(hidden / layers / usual)), off, model))
    _, _, off, model = min(found, key=lambda one: one[:3])
    if off > 0.5:
        raise BadInput(f"no shape has about {parameters:,.0f} parameters with an embedding table of {rows:,} rows")
    return base.model_copy(update={"model": model})


def _fitting(asked: Asked, told: dict[str, Any], rows: int, sequences: float) -> dict[str, Any]:
    """The largest micro-batch that a GPU holds, with as little recomputed and sharded as that allows."""
    most = 1 << max(0, math.floor(math.log2(max(1.0, sequences / asked.gpus))))
    for stage in (1, 3):
        for recompute in ("none", "selective", "full"):
            micro = most
            while micro:
                how = {"zero_stage": stage, "recompute": recompute, "micro_batch": micro}
                run = Run.model_validate(told | how | {"global_batch": micro * asked.gpus})
                if memory(run, rows, gpus=True).total <= FILLED * asked.gpu_bytes:
                    return how
                micro //= 2
    raise BadInput(
        f"a model of {run.model.parameters(rows):,} parameters does not fit into {asked.gpus} GPUs of"
        f" {asked.gpu_bytes / GIB:.0f} GiB, whatever is recomputed and sharded"
    )


def _why(asked: Asked, run: Run, rows: int, budget: float) -> list[Row]:
    model, tokens = run.model, run.steps * run.tokens_per_step
    size = model.parameters(rows)
    shape = f"{model.layers} layers x {model.hidden}, {model.heads} heads, {model.ffn}"
    by_rule = f"{TOKENS_A_PARAMETER:g} tokens a parameter (2203.15556)"
    by_law = "by the recipe's own law" if asked.parameters else by_rule
    held = f"{memory(run, rows, gpus=True).total / GIB:.1f} GiB of {asked.gpu_bytes / GIB:.0f}"
    checkpoints = len(run.checkpoint_steps())
    return [
        {"what": "FLOPs", "value": f"{budget:.3g}", "from": f"{asked.rate / 1e12:g} TFLOP/s a GPU, sustained: assumed"},
        {"what": "parameters", "value": f"{size:,}", "from": f"{by_law}; {shape}"},
        {"what": "tokens", "value": f"{tokens:,}", "from": f"what the hours hold; {tokens / size:.1f} a parameter"},
        {"what": "tokens a step", "value": f"{run.tokens_per_step:,}", "from": "by the budget (2401.02954)"},
        {"what": "steps", "value": f"{run.steps:,}", "from": ""},
        {"what": "peak rate", "value": f"{run.schedule.peak_lr:g}", "from": "by the budget (2401.02954)"},
        {
            "what": "micro-batch",
            "value": f"{run.micro_batch} x {run.sequence_length:,} tokens, {run.accumulation} a step",
            "from": f"{held} a GPU; ZeRO {run.zero_stage}, recomputed: {run.recompute}",
        },
        {"what": "checkpoints", "value": str(checkpoints), "from": f"{checkpoints * size * 14 / 1e9:,.0f} GB in all"},
    ]


def as_recipe(name: str, run: Run, base: Run) -> str:
    """What a recipe writes to have the run: YAML of the fields in which it differs from the base run."""
    import yaml

    mine, theirs = run.model_dump(mode="json"), base.model_dump(mode="json")
    told = {field: value for field, value in mine.items() if value != theirs[field]}
    for field in ("model", "optimizer"):
        if field in told and told[field].get("kind") == theirs[field].get("kind"):
            told[field] = {k: v for k, v in told[field].items() if v != theirs[field].get(k)}
    told.pop("on_trouble", None)
    return str(yaml.safe_dump({"runs": {name: told}}, sort_keys=False, allow_unicode=True))
