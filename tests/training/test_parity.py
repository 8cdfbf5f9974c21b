"""DeepSpeed at every stage, in both precisions and on every rung of attention here, does what a plain torch loop does
(benchmarks/parity.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neo_assets.core.fingerprint import ROOT
from tests.training.runs import small_run

FP32_LOSS, FP32_WEIGHTS = 1e-5, 1e-4
"""Other orders of summation; measured: 5e-7 of losses near 6, 3e-6 of the way that the weights went."""
BF16_LOSS, BF16_WEIGHTS = 0.02, 0.1
"""Three digits of a number; measured: 0.004 and 0.03."""


@pytest.mark.parametrize("ranks", [1, 2])
def test_every_rung_trains_as_a_plain_loop_does(tmp_path: Path, ranks: int) -> None:
    out = tmp_path / "parity.json"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
        "-m",
        "benchmarks.parity",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(out.read_text())
    assert {(r["zero"], r["precision"]) for r in rows} == {
        (stage, precision) for stage in range(4) for precision in ("fp32", "bf16")
    } - {(0, "bf16")}
    assert {r["attention"] for r in rows} >= {"varlen", "sdpa", "eager"}
    for row in rows:
        loss, weights = (FP32_LOSS, FP32_WEIGHTS) if row["precision"] == "fp32" else (BF16_LOSS, BF16_WEIGHTS)
        assert row["largest difference of a loss"] < loss, row
        assert row["weights apart / moved"] < weights, row


def test_bf16_without_masters_is_refused() -> None:
    with pytest.raises(ValueError, match="without an fp32 master"):
        small_run(zero_stage=0, precision="bf16")
