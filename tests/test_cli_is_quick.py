"""Commands that look at the store must not wait for Dagster or torch to be imported, nor the list of them for any."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import COMMANDS, GROUPS, app, described

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


def test_commands_are_listed_in_groups_each_once() -> None:
    listed = CliRunner().invoke(app, ["--help"], terminal_width=200, env={"COLUMNS": "200"}).output
    places = [listed.index(f" {group} ") for group in GROUPS]
    assert places == sorted(places) and sum(map(len, GROUPS.values())) == len(COMMANDS)


def test_the_version_is_that_of_what_is_installed() -> None:
    said = CliRunner().invoke(app, ["--version"]).output
    assert said.startswith(f"NeoFoundry {version('neofoundry')}, Python {sys.version.split()[0]}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    neo = [sys.executable, "-m", "neo_assets.cli"]
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run([*neo, "--show-completion", shell], text=True, capture_output=True, env=env, check=True)
    assert "_COMPLETE" in script.stdout and shell in script.stdout.replace("COMP_WORDS", "bash")


def complete(typed: str, **environment: str) -> list[str]:
    """What bash is offered after these words."""
    words = typed.split(" ")
    env = {**os.environ, **environment, "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    env["_NEO_COMPLETE"] = "complete_bash"
    program = str(Path(sys.executable).with_name("neo"))
    return subprocess.run([program], env=env, text=True, capture_output=True, check=False).stdout.split()


def test_names_of_commands_runs_and_checkpoints_are_offered(tmp_path: Path) -> None:
    for step in (0, 20):
        (tmp_path / "checkpoint" / "main" / f"{step:07d}-abcdef01").mkdir(parents=True)
    here = {"NEO_STORE": str(tmp_path), "NEO_RECIPE": "ci"}
    assert complete("neo f", **here) == ["fate", "funnel", "fetch-demo", "fetch-benchmarks"]
    assert complete("neo pause ", **here) == ["main", "decay"]
    assert complete("neo generate main@", **here) == ["main@0", "main@20", "main@last"]
    assert complete("neo pause ", NEO_RECIPE="none such") == []
