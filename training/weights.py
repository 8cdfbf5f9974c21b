"""Weights out of a checkpoint, and checkpoints for another world size, by DeepSpeed's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STATE = "state"
"""Folder of DeepSpeed's files inside a checkpoint."""


def master_weights(checkpoint: Path, tag: str = STATE) -> dict[str, torch.Tensor]:
    """fp32 weights by name, put together from the optimizer shards; ZeRO stage 0 has none: there, the module's own.

    Raises:
        SystemExit: the folder does not exist.
    """

    folder = checkpoint / tag
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: no DeepSpeed state to read")
    if not any(folder.glob("*_optim_states.pt")):
        return {name: weight.float() for name, weight in module_weights(folder).items()}
    from training.states import read_state

    states = [
        read_state(shard)["optimizer_state_dict"] for shard in sorted(folder.glob("*_optim_states.pt"), key=_rank_of)
    ]
    if "zero_stage" not in states[0]:
        return _from_bf16_optimizer(folder, states)
    refuse_more_than_data(folder)
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    state: dict[str, torch.Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag)
    return state


def _rank_of(shard: Path) -> int:
    return int(shard.name.partition("zero_pp_rank_")[2].partition("_")[0])


def _from_bf16_optimizer(folder: Path, states: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Masters of ZeRO 1 with fp32 accumulation, whose shards DeepSpeed's own zero_to_fp32 does not read: each group is
    one flat tensor in equal pieces.
    """
    import torch

    from training.states import read_state

    shapes = read_state(folder / "mp_rank_00_model_states.pt")["param_shapes"]
    out: dict[str, torch.Tensor] = {}
    for group, named in enumerate(shapes):
        flat, at = torch.cat([state["single_partition_of_fp32_groups"][group] for state in states]), 0
        for name, shape in named.items():
            out[name] = flat[at : at + shape.numel()].reshape(shape).clone()
            at += shape.numel()
    return out


def module_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The engine's own weights; empty where ZeRO stage 3 holds them in pieces."""
    from training.states import read_state

    file = folder / "mp_rank_00_model_states.pt"
    if not file.is_file():
        return {}
    state: dict[str, torch.Tensor] = read_state(file)["module"]
    return state


def refuse_more_than_data(folder: Path) -> None:
    """Read every file of a state as data, before DeepSpeed's own tools read it as pickles. Raises SystemExit."""
    from training.states import read_state

    for file in sorted(folder.glob("*.pt")):
        read_state(file)


MOMENTUM = "momentum_buffer"
"""What Muon keeps of a matrix."""


def _as_adams(state: Path, target: Path) -> tuple[Path, list[str]]:
    """(folder of shards that DeepSpeed's converter reads, names of the parameters that have Muon's momentum). It knows
    Adam's two moments alone, and its reader takes what it finds by name: momentum goes through it as the first moment.
    """
    import torch

    from training.states import read_state

    names: dict[str, None] = {}
    for file in sorted(state.glob("*_optim_states.pt")):
        content = read_state(file, deepspeed=True)
        optimizer = content["optimizer_state_dict"]
        base = optimizer.get("base_optimizer_state")
        for group, held in (base.get("state", {}) if isinstance(base, dict) else {}).items():
            if MOMENTUM in held:
                held["exp_avg"] = held["exp_avg_sq"] = held.pop(MOMENTUM)
                names |= dict.fromkeys(optimizer["param_slice_mappings"][group])
        if not names:
            return state, []
        target.mkdir(parents=True, exist_ok=True)
        torch.save(content, target / file.name)
    for file in state.glob("*_model_states.pt"):
        shutil.copyfile(file, target / file.name)
    return target, list(names)


def universal(checkpoint: Path, target: Path, rank: int) -> Path:
    """DeepSpeed's universal form of a checkpoint, in ``target``: any world size and ZeRO stage can load it. Collective.

    Raises:
        SystemExit: the converter failed; its last lines say why.
    """
    import torch.distributed as dist

    failed: list[str | None] = [None]
    if rank == 0:
        refuse_more_than_data(checkpoint / STATE)
        shutil.rmtree(target, ignore_errors=True)
        shards, with_momentum = _as_adams(checkpoint / STATE, target / "shards")
        command = [
            sys.executable,
            "-m",
            "deepspeed.checkpoint.ds_to_universal",
            "--input_folder",
            str(shards),
            "--output_folder",
            str(target / STATE),
        ]
        command += ["--num_extract_workers", "1", "--num_merge_workers", "1", "--inject_missing_state"]
        environment = {
            k: v
            for k, v in os.environ.items()
            if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        } | {"DS_ACCELERATOR": "cpu"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            failed = [
                f"{checkpoint.name} could not be converted for another world"
                f" size:\n{(done.stdout + done.stderr)[-1500:]}"
            ]
        else:
            for name in with_momentum:
                held = target / STATE / "zero" / name
                (held / "exp_avg.pt").rename(held / f"{MOMENTUM}.pt")
                (held / "exp_avg_sq.pt").unlink()
            shutil.rmtree(target / "shards", ignore_errors=True)
            shutil.copyfile(checkpoint / "certificate.json", target / "certificate.json")
    dist.broadcast_object_list(failed, src=0)
    if failed[0] is not None:
        raise SystemExit(failed[0])
    return target
