"""Commands that look at the store must not wait for Dagster or torch to be imported, nor the list of them for any."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from neo_assets.cli import COMMANDS, app, described

HEAVY = {"dagster", "torch", "transformers", "deepspeed", "duckdb", "numba", "scipy", "aiohttp", "sentencepiece"}


def loaded_by(script: str) -> set[str]:
    script = f"import sys; {script}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_list_of_commands_loads_nothing_of_ours_and_no_numpy() -> None:
    script = "from neo_assets import cli; [cli.described(place) for place in cli.COMMANDS.values()]"
    assert not loaded_by(script) & {*HEAVY, "numpy", "pyarrow", "pydantic", "yaml"}


def test_what_reads_loads_neither_dagster_nor_torch() -> None:
    modules = sorted({place.partition(":")[0] for place in COMMANDS.values()} - {"house.plan"})
    assert not loaded_by("; ".join(f"import neo_assets.{module}" for module in modules)) & {*HEAVY, "numba", "aiohttp"}


def test_every_command_is_listed_with_its_description_and_explains_itself() -> None:
    listed = CliRunner().invoke(app, ["--help"], terminal_width=200, env={"COLUMNS": "200"}).output
    for name, place in COMMANDS.items():
        first = described(place).split("\n\n")[0].split()
        assert first, name
        line = next(line for line in listed.splitlines() if line.strip("│ ").startswith(f"{name} "))
        assert line.strip("│ ").split()[1:5] == first[:4]
        own = CliRunner().invoke(app, [name, "--help"])
        assert own.exit_code == 0 and f"neo {name}" in own.output.replace("root", "neo")


@pytest.mark.parametrize(("typed", "meant"), [("fat", "fate"), ("verfy", "verify"), ("complain", "")])
def test_a_command_that_is_none_is_told_what_is_close(typed: str, meant: str) -> None:
    done = CliRunner().invoke(app, [typed])
    assert done.exit_code == 2 and f"there is no command '{typed}'" in done.output and meant in done.output
