"""Process group and DeepSpeed engine: the few lines where the machine shows.

On a machine without a GPU, DeepSpeed would compile a shared-memory collective at first use and die where there is no
C++ compiler. It is told that the op cannot be built; plain gloo takes its place, at 5.2 k tokens/s for 4.6 M parameters
on two ranks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from neo_assets.core.recipe.run import AdamW, Muon, Run
from training.sizes import BUCKET

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


def be_deterministic(wanted: bool) -> None:
    """Kernels that give the same bits each time, or the fastest. To be called before CUDA is used for the first time.

    cuBLAS needs a workspace of its own for it, and flash-attention's backward pass another order of summation; an
    operation that has no deterministic kernel raises an error instead of going on. New memory is not filled first:
    nothing here reads what it has not written.
    """
    if wanted:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        os.environ["FLASH_ATTENTION_DETERMINISTIC"] = "1"  # read by transformers
    torch.use_deterministic_algorithms(wanted)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def start_process_group(deterministic: bool = True) -> tuple[int, int, torch.device, str]:
    """(rank, world size, this rank's device, one line about what the machine has)."""
    be_deterministic(deterministic)
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if has_gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        deepspeed.init_distributed(dist_backend="nccl")
        line = f"{torch.cuda.get_device_name(device)}, nccl"
    else:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        device = torch.device("cpu")
        deepspeed.init_distributed(dist_backend="gloo")
        line = (
            f"no GPU: CPU with {torch.get_num_threads()} thread(s) a rank, gloo (DeepSpeed's compiled shared-memory op"
            " is left out, so no C++ compiler is needed)"
        )
    return torch.distributed.get_rank(), torch.distributed.get_world_size(), device, line


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def build_engine(model: torch.nn.Module, run: Run, *, load_universal: bool = False) -> DeepSpeedEngine:
    """The recipe's optimizer under ZeRO of the recipe's stage. The learning rate is set before every step
    (``set_rate``).
    """
    import deepspeed

    optimizer = _optimizer(model, run.optimizer)
    settings = run.optimizer
    config = {
        "train_batch_size": run.global_batch,
        "train_micro_batch_size_per_gpu": run.micro_batch,
        "gradient_accumulation_steps": run.accumulation,
        "gradient_clipping": settings.grad_clip,
        "bf16": {"enabled": run.precision == "bf16"},
        # Else DeepSpeed adds the micro-batches' gradients up in bf16, where every addition rounds to three digits.
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": run.zero_stage,
            "reduce_bucket_size": min(BUCKET, sum(p.numel() for p in model.parameters())),
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "checkpoint": {"load_universal": load_universal},
    }
    deepspeed.utils.logger.setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):  # its notes on memory would bury our own lines
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return engine


def _optimizer(model: torch.nn.Module, settings: AdamW | Muon) -> torch.optim.Optimizer:
    """AdamW, no decay on norm weights; or Muon for the matrices of the blocks and AdamW for the rest. Each group knows
    its multiple of the schedule's rate (:data:`RATE`).
    """
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    adam = {"betas": (settings.beta1, settings.beta2), "eps": settings.eps, "lr": 0.0}
    if not isinstance(settings, Muon):
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay, RATE: 1.0},
                {"params": vectors, "weight_decay": 0.0, RATE: 1.0},
            ],
            **adam,  # type: ignore[arg-type]
            fused=True,
        )
    # Its kernels are functions to compile, which needs a C++ compiler on a CPU, and gives other bits on each machine.
    torch._dynamo.config.disable = True
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    blocks = {id(p) for name, p in model.named_parameters() if p.ndim >= 2 and ".layers." in f".{name}"}
    hidden, tables = [p for p in matrices if id(p) in blocks], [p for p in matrices if id(p) not in blocks]
    decay = {"weight_decay": settings.weight_decay}
    orthogonal = {"use_muon": True, "momentum": settings.momentum, "lr": 0.0}
    made: torch.optim.Optimizer = MuonWithAuxAdam(
        [
            {"params": hidden, **orthogonal, **decay},
            {"params": tables, "use_muon": False, **adam, **decay},
            {"params": vectors, "use_muon": False, **adam, "weight_decay": 0.0},
        ]
    )
    for group, rate in zip(made.param_groups, (settings.matrix_rate, settings.embedding_rate, 1.0), strict=True):
        group[RATE] = rate
    return made


RATE = "rate"
"""Of a group of parameters: its rate as a multiple of the schedule's."""


def rate_of(engine: DeepSpeedEngine) -> float:
    """The schedule's rate that the last update was made with, asked of the optimizer itself."""
    group = engine.optimizer.param_groups[-1]
    return float(group["lr"] / group[RATE])


def set_rate(engine: DeepSpeedEngine, rate: float) -> None:
    """The schedule's rate of the next update."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group[RATE]
