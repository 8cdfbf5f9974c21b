"""What every rank really holds under DeepSpeed, by component, at the moments when it holds most: prints one line of
JSON.

torchrun --nproc-per-node=2 -m tests.pretrain.held ‹stage› ‹precision›
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable

import torch
from deepspeed import DeepSpeedEngine

from tests.pretrain.test_memory import ROWS, built, run_of
from training.attention import model_inputs
from training.engine import build_engine, set_rate, start_process_group
from training.model import recompute

LENGTH = 32
"""Short: what is held beside activations is asked for."""
Held = dict[int, int]


def held(tensors: Iterable[object]) -> Held:
    """Bytes of each storage behind some tensors and their gradients."""
    found = [t for t in tensors if isinstance(t, torch.Tensor)]
    found += [t.grad for t in found if t.is_leaf and t.grad is not None]
    return {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in found)}


def alive() -> Held:
    gc.collect()
    return held(gc.get_objects())


def optimizers(engine: DeepSpeedEngine) -> Held:
    """Moments, and the fp32 weights that are updated."""
    inner = getattr(engine.optimizer, "optimizer", engine.optimizer)
    masters = [t.detach() for group in inner.param_groups for t in group["params"]] + list(
        getattr(engine.optimizer, "fp32_partitioned_groups_flat", [])
    )
    return held([*masters, *(t for state in inner.state.values() for t in state.values())])


def buckets(engine: DeepSpeedEngine) -> Held:
    """Where gradients are gathered for a reduction, by the stages that have a place for it."""
    found = getattr(engine.optimizer, "ipg_buckets", {}).values()
    return held(t for bucket in found for t in (bucket.buffer if isinstance(bucket.buffer, list) else [bucket.buffer]))


def measured(stage: int, precision: str, world: int, device: torch.device) -> dict[str, int]:
    run = run_of(precision, "selective", zero_stage=stage, ranks_per_node=world, micro_batch=1, global_batch=2 * world)
    before = alive()
    model = built(run)
    recompute(model, run.recompute)
    engine = build_engine(model, run)
    weights = held(t for p in engine.module.parameters() for t in (p.detach(), getattr(p, "ds_tensor", None)))
    ids = torch.randint(ROWS, (1, LENGTH))
    gathered: list[int] = []
    flatten = engine.flatten

    def gather(tensors: list[torch.Tensor]) -> torch.Tensor:
        """What the other stages do when a reduction comes."""
        flat = flatten(tensors)
        gathered.append(0 if flat.data_ptr() == tensors[0].data_ptr() else flat.nbytes)
        return flat

    engine.flatten = gather
    # The embedding's gradient is the last to come.
    next(iter(engine.module.parameters())).register_hook(lambda _: gathered.append(sum(buckets(engine).values())))
    optimizer = gradients = 0
    for _ in range(2 * run.accumulation):
        loss = engine(**model_inputs("sdpa", ids, torch.arange(LENGTH).expand(1, LENGTH), device)).logits.float().mean()
        engine.backward(loss)
        del loss
        whole = held(
            p.detach() for p in engine.module.parameters()
        )  # stage 3 leaves matrices below 100,000 numbers in one piece; a real model has none
        known = before | weights | whole | (moments := optimizers(engine)) | buckets(engine)
        optimizer = max(optimizer, sum(size for place, size in moments.items() if place not in weights))
        gradients = max(gradients, sum(size for place, size in alive().items() if place not in known))
        set_rate(engine, 1e-4)
        engine.step()
    return {"weights": sum(weights.values()), "gradients": gradients, "optimizer": optimizer, "buckets": max(gathered)}


def main() -> None:
    rank, world, device, _ = start_process_group()
    for stage, precision in (
        (0, "fp32"),
        *((stage, precision) for stage in (1, 2, 3) for precision in ("fp32", "bf16")),
    ):
        row = {"stage": stage, "precision": precision} | measured(stage, precision, world, device)
        if rank == 0:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
