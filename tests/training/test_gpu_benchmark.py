"""The one command for a machine with a GPU works without one, on tiny shapes: whoever has a GPU for eight minutes must
not spend them on its bugs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.__main__ import ask
from neo_assets.core.fingerprint import ROOT


def test_every_question_is_answered_or_says_why_not(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        str(tmp_path / "told.json"),
        "--quick",
        "--only",
        "parity",
        "--only",
        "speed",
        "--only",
        "evaluation",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert not [row for row in rows if "failed" in row["answer"]], rows
    assert all(row["answer"] in done.stdout for row in rows)
    apart = {row["what"]: row["gradients_apart"] for row in rows if "gradients_apart" in row}
    assert {what.split(",")[0] for what in apart} >= {"eager", "sdpa", "varlen"} and max(
        v for what, v in apart.items() if "fp32" in what
    ) < 1e-4
    assert sum("tokens/s" in row["answer"] and "determinism costs" in row["answer"] for row in rows) == 3
    assert {
        row["what"].split(", ")[-1] for row in rows if row["question"] == "speed" and "CUDA only" in row["answer"]
    } == {
        "flash_attention_2",
        "flash_attention_4",
        "torch_varlen",
    }


def test_a_question_that_breaks_costs_only_its_own_answer(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import torch

    from benchmarks.gpu import __main__ as gpu

    def broken(device: torch.device, quick: bool):  # type: ignore[no-untyped-def]
        yield {"question": "parity", "what": "first", "answer": "fine"}
        raise RuntimeError("CUDA error: an illegal instruction")

    monkeypatch.setitem(gpu.QUESTIONS, "parity", broken)
    rows = list(ask(torch.device("cpu"), True, ["parity", "evaluation"]))
    assert [row["answer"] for row in rows[:2]] == ["fine", "failed: RuntimeError: CUDA error: an illegal instruction"]
    assert rows[2]["question"] == "evaluation" and "apart" in str(rows[2]["answer"])
