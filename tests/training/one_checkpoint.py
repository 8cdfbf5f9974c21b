"""Trains a tiny model two steps per case and saves DeepSpeed's state: ``one_checkpoint.py ‹folder› ‹shape as JSON›
‹vocab rows› ‹stage›-‹bf16|fp32› …``.

One process for all cases, because importing DeepSpeed takes longer than everything else here.
"""

import os
import socket
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed  # reads DS_ACCELERATOR at import
import torch

from neo_assets.core.launch import leave
from neo_assets.core.recipe.run import Model
from training.model import build_model

folder, shape, rows, cases = Path(sys.argv[1]), Model.model_validate_json(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
torch.set_num_threads(1)
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
deepspeed.init_distributed(dist_backend="gloo")
for case in cases:
    stage, precision = case.split("-")
    model = build_model(shape, rows, seed=3)
    settings = {
        "train_batch_size": 2,
        "bf16": {"enabled": precision == "bf16"},
        "zero_optimization": {"stage": int(stage)},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2), config=settings
    )
    for _ in range(2):
        ids = torch.arange(2 * 32).reshape(2, 32) % rows
        engine.backward(engine(input_ids=ids, labels=ids, use_cache=False) / ids.numel())
        engine.step()
    engine.save_checkpoint(str(folder / case), tag="state", save_latest=False)
torch.distributed.destroy_process_group()
leave(0)
