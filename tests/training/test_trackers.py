"""Metrics go where a recipe asks, and a tracker that is not there costs a line."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from training.trackers import Trackers

ROW = {"step": 3, "loss": 5.0, "lr": 1e-3, "grad_norm": 0.5, "tokens": 100, "tokens_per_s": 10.0}


def test_what_is_not_installed_is_one_line_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trackers = Trackers(["tensorboard", "wandb"], "main", tmp_path)
    trackers.log(ROW)
    trackers.close()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and all("pip install" in line and "goes on without it" in line for line in told)


def test_a_run_of_weights_and_biases_is_resumed_by_the_jobs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object]] = []
    run = types.SimpleNamespace(
        log=lambda values, step: calls.append(("log", (step, values["loss"]))),
        finish=lambda: calls.append(("finish", None)),
    )
    module = types.ModuleType("wandb")
    module.init = lambda **told: calls.append(("init", (told["id"], told["resume"], told["name"]))) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    trackers = Trackers(["wandb"], "main", tmp_path / "abc")
    trackers.log(ROW)
    trackers.close()
    assert calls == [("init", ("abc", "allow", "main")), ("log", (3, 5.0)), ("finish", None)]
