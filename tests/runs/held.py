"""What every rank really holds under DeepSpeed, by component, at the moments when it holds most: prints one line of
JSON.

torchrun --nproc-per-node=2 -m tests.runs.held ‹stage› ‹precision›
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.comm.torch import TorchBackend

from neo_assets.core.launch import leave
from tests.runs.test_memory import ROWS, built, run_of
from training.attention import model_inputs
from training.engine import build_engine, set_rate, start_process_group
from training.model import recompute

LOOKS, PAUSE_S = 4, 0.05
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


def at_rest(look: Callable[[], int]) -> int:
    """The least of some looks: on a busy machine a thread of the backend still holds what it has reduced."""
    found = [look()]
    for _ in range(LOOKS):
        time.sleep(PAUSE_S)
        found.append(look())
    return min(found)


REDUCTIONS = ("all_reduce", "reduce", "reduce_scatter_tensor", "reduce_scatter_fn")


@contextlib.contextmanager
def looking(look: Callable[[], None]) -> Iterator[None]:
    """Look at every reduction between ranks, while what it works on is held."""
    real = {name: getattr(TorchBackend, name) for name in REDUCTIONS if hasattr(TorchBackend, name)}

    def looked(name: str) -> Callable[..., object]:
        def reduction(*given: object, **named: object) -> object:
            look()
            return real[name](*given, **named)

        return reduction

    for name in real:
        setattr(TorchBackend, name, looked(name))
    try:
        yield
    finally:
        for name, method in real.items():
            setattr(TorchBackend, name, method)


def measured(stage: int, precision: str, world: int, device: torch.device) -> dict[str, int]:
    run = run_of(precision, "selective", zero_stage=stage, ranks_per_node=world, micro_batch=1, global_batch=2 * world)
    gc.collect()
    others = [
        t for t in gc.get_objects() if isinstance(t, torch.Tensor)
    ]  # held, so that no new tensor gets their place
    before = held(others)
    model = built(run)
    recompute(model, run.recompute)
    engine = build_engine(model, run)
    weights = held(t for p in engine.module.parameters() for t in (p.detach(), getattr(p, "ds_tensor", None)))
    ids = torch.randint(ROWS, (1, LENGTH))
    most = optimizer = gradients = 0

    def beside() -> int:
        """Bytes of all that is there now, but for weights and the optimizer's state."""
        # Stage 3 leaves matrices below 100,000 numbers in one piece; a real model has none.
        whole = held(p.detach() for p in engine.module.parameters())
        known = before | weights | whole | optimizers(engine)
        return sum(size for place, size in alive().items() if place not in known)

    def look() -> None:
        nonlocal most
        most = max(most, beside())

    with looking(look):
        for _ in range(2 * run.accumulation):
            inputs = model_inputs("sdpa", ids, torch.arange(LENGTH).expand(1, LENGTH), device)
            loss = engine(**inputs).logits.float().mean()
            engine.backward(loss)
            del loss
            # Buckets may outlive the pass that filled them.
            found = (b.buffer for b in getattr(engine.optimizer, "ipg_buckets", {}).values())
            standing = held(t for buffer in found for t in (buffer if isinstance(buffer, list) else [buffer]))
            optimizer = max(optimizer, sum(n for place, n in optimizers(engine).items() if place not in weights))
            gradients = max(gradients, at_rest(beside) - sum(standing.values()))
            set_rate(engine, 1e-4)
            engine.step()
    return {
        "weights": sum(weights.values()),
        "optimizer": optimizer,
        "gradients": gradients,
        "gradients and buckets": most,
    }


def main() -> None:
    rank, world, device, _ = start_process_group()
    gc.collect()
    gc.freeze()  # what is there by now, half a million objects, is looked at no more
    for stage, precision in (
        (0, "fp32"),
        *((stage, precision) for stage in (1, 2, 3) for precision in ("fp32", "bf16")),
    ):
        row = {"stage": stage, "precision": precision} | measured(stage, precision, world, device)
        if rank == 0:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
    leave(0)
