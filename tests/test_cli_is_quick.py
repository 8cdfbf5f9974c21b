"""Commands that look at the store must not wait for Dagster or torch to be imported."""

from __future__ import annotations

import subprocess
import sys


def test_the_command_line_loads_neither_dagster_nor_torch() -> None:
    script = (
        "import sys, neo_assets.cli; print(sorted({'dagster', 'torch', 'transformers', 'deepspeed', 'duckdb'} &"
        " set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"
