"""A checkpoint is data: what would run when it is read, is refused by name and does not run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from neo_assets.core.fingerprint import ROOT
from training.checkpoint import random_states
from training.snapshot import Snapshots
from training.states import read_state


class Harm:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("read", [read_state, lambda path: Snapshots().load(str(path))])
def test_a_file_that_would_run_something_is_refused_by_name(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    torch.save({"module": torch.zeros(2), "extra": Harm(tmp_path / "ran")}, tmp_path / "state.pt")
    with pytest.raises(SystemExit, match=r"state\.pt was not read: it holds more than data .*system"):
        read(tmp_path / "state.pt")
    assert not (tmp_path / "ran").exists()


def test_torch_loads_in_one_place_only() -> None:
    """An import contract keeps pickle out; torch.load unpickles without importing it."""
    loads = [
        p.relative_to(ROOT).as_posix()
        for package in ("neo_assets", "resources", "training")
        for p in (ROOT / package).rglob("*.py")
        if "torch.load(" in p.read_text()
    ]
    assert loads == ["training/states.py"]


def test_random_states_come_back_as_they_were(tmp_path: Path) -> None:
    torch.save(random_states(), tmp_path / "rank0.pt")
    before = (random.random(), float(np.random.rand()), float(torch.rand(())))
    from training.checkpoint import restore_random_states

    restore_random_states(read_state(tmp_path / "rank0.pt"))
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == before


def test_deepspeeds_own_record_is_read_without_deepspeed(tmp_path: Path) -> None:
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    torch.save(
        {"slices": {"w": fragment_address(3, 4)}, "scaler": LossScaler(2.0), "zero_stage": ZeroStageEnum(2)},
        tmp_path / "optim.pt",
    )
    found = read_state(tmp_path / "optim.pt")
    assert (found["slices"]["w"].numel, found["slices"]["w"].start, found["scaler"].cur_scale, found["zero_stage"]) == (
        3,
        4,
        2.0,
        2,
    )
    assert type(found["scaler"]).__module__ == "training.states"
    assert isinstance(Snapshots().load(str(tmp_path / "optim.pt"))["scaler"], LossScaler)
