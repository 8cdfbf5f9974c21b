"""The planner against the paper, against the model itself, and against what a run really holds."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import JobFolder, JobSpec, Reporter
from neo_assets.core.recipe import load
from neo_assets.core.usage import usage
from neo_assets.runs.plan import GIB, estimate, instantiated_parameters, memory
from resources.compute import open_compute
from training.energy import EnergyMeter


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [("neo-7b", 7_793_716_224), ("neo-7b-released", 7_793_716_224), ("neo-2b", 2_244_552_704), ("laptop", 1_721_472)],
)
def test_the_formula_and_the_instantiated_model_agree(recipe: str, parameters: int) -> None:
    loaded = load(recipe)
    for run in loaded.runs.values():
        assert (
            estimate(run, loaded.tokenizer)["parameters"]
            == instantiated_parameters(run, loaded.tokenizer)
            == parameters
        )


def test_a_tied_table_is_counted_once() -> None:
    laptop, b7 = load("laptop"), load("neo-7b")
    tied, untied = laptop.runs["main"], next(iter(b7.runs.values()))
    assert tied.model.tied_embeddings and not untied.model.tied_embeddings
    for run, recipe, tables in ((tied, laptop, 1), (untied, b7, 2)):
        told = estimate(run, recipe.tokenizer)
        assert told["embedding parameters"] == tables * int(str(told["vocabulary rows"])) * run.model.hidden


def test_the_7b_plan_is_the_papers() -> None:
    recipe = load("neo-7b")
    main, decay = (estimate(recipe.runs[name], recipe.tokenizer, recipe.compute) for name in ("main", "decay"))
    assert (main["tokens a step"], main["steps"]) == (8_388_608, 444_213)
    assert main["tokens"] == pytest.approx(3726.33e9, rel=1e-5)
    assert main["days"] == pytest.approx(11.7, abs=0.05)  # 512 GPUs at 7,200 tokens/s each
    assert decay["tokens"] == pytest.approx(776e9, rel=1e-3)
    assert main["FLOPs (6ND)"] == pytest.approx(6 * 7_793_716_224 * 3726.33e9, rel=1e-5)
    assert main["bytes a checkpoint"] == pytest.approx(109e9, rel=2e-3)  # the released ones: 2 x (7.79 + 46.8) GB
    held = memory(recipe.runs["main"], 64_256)
    assert held.weights == 7_793_716_224 * 2 and held.optimizer == 7_793_716_224 * 12 // 512
    assert held.total < 40 * GIB  # of the 80 GB of the paper's cards, without tensor parallelism
    assert memory(recipe.runs["main"].model_copy(update={"recompute": "none"}), 64_256).total > 70 * GIB


def test_what_a_stage_divides() -> None:
    recipe = load("neo-7b")
    run = recipe.runs["main"].model_copy(update={"nodes": 1})
    alone, one, two, three = (
        memory(run.model_copy(update=change), 64_256)
        for change in ({"ranks_per_node": 1}, {"zero_stage": 1}, {"zero_stage": 2}, {"zero_stage": 3})
    )
    assert (one.optimizer, two.gradients, three.weights) == (
        alone.optimizer // 8,
        alone.gradients // 8,
        alone.weights // 8,
    )
    assert (one.weights, two.weights) == (alone.weights, alone.weights)
    assert one.gradients > alone.gradients


def test_a_price_gives_a_cost_and_a_branch_counts_its_own_steps(tmp_path: Path) -> None:
    (tmp_path / "laptop.yaml").write_text((ROOT / "recipes" / "laptop.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(
        "extends: laptop\ncompute: {gpu_hour_cost: 2.0}\nruns:\n  main_b: {like: main, steps: 100, parent: {run: main,"
        " step: 60, take: everything, fingerprint: abcdef0123}}\n"
    )
    recipe = load(str(tmp_path / "mine.yaml"))
    plan = estimate(recipe.runs["main_b"], recipe.tokenizer, recipe.compute)
    assert (plan["steps"], plan["tokens"], plan["starts from"]) == (40, 40 * 4096, "main@60, everything")
    assert plan["cost, EUR"] == pytest.approx(float(str(plan["hours"])) * 2 * 2.0, abs=0.01)


def test_the_command_that_would_run(tmp_path: Path) -> None:
    def command(name: str) -> str:
        recipe = load(name)
        return open_compute(recipe.compute, tmp_path).launch_command("main", recipe.runs["main"])

    assert command("laptop") == "torchrun --standalone --nproc-per-node=2 -m neo_assets.core.launch spec.json"
    assert "--nodes=64 --ntasks-per-node=8" in command("neo-7b")
    assert shlex.split(command("neo-7b"))[-1] == "srun python -m neo_assets.core.launch spec.json"


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (
            "{attention: torch_varlen, precision: fp32, zero_stage: 0}",
            "attention: torch_varlen computes in 16 bits; the run's precision is fp32",
        ),
        ("{model: {heads: 5, kv_heads: 5}}", "heads (5) must divide hidden"),
        ("{from_model: nowhere}", "nowhere is no Hugging Face folder"),
        ("{from_model: FOLDER}", "activation is 'gelu' there, 'silu' in the recipe"),
    ],
)
def test_the_plan_refuses_what_the_program_would(tmp_path: Path, run: str, told: str) -> None:
    for base in ("laptop", "_benchmarks"):
        (tmp_path / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text('{"hidden_act": "gelu"}')
    (tmp_path / "folder" / "model.safetensors").write_bytes(b"")
    (tmp_path / "mine.yaml").write_text(
        f"extends: laptop\nruns:\n  main: {run.replace('FOLDER', str(tmp_path / 'folder'))}\n"
    )
    script = "import sys; sys.argv = ['neo', 'plan']; from neo_assets.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"NEO_RECIPE": str(tmp_path / "mine.yaml"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]


def test_the_plan_prints_without_torch() -> None:
    script = (
        "import sys; sys.argv = ['neo', 'plan', '--json']; from neo_assets.cli import app; app(standalone_mode=False);"
        " assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"NEO_RECIPE": "neo-7b", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)[0]["parameters"] == 7_793_716_224


# ------------------------------------------------------------------ what it really took


def test_energy_is_read_from_the_machine_or_not_at_all(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules() is None and EnergyMeter(tmp_path).sources == "not measured"
    for name, energy in (
        ("intel-rapl:0", 900_000),
        ("intel-rapl:1", 100_000),
        ("intel-rapl:0:0", 5),
    ):  # the last is a part of the first
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(str(energy))
        (tmp_path / name / "max_energy_range_uj").write_text("1000000")
    meter = EnergyMeter(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100000")  # wrapped
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("400000")
    assert meter.joules() == pytest.approx(0.2 + 0.3)
    assert meter.sources == "RAPL, 2 package(s)"


def test_usage_sums_attempts_up_to_their_last_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = JobFolder(tmp_path)
    folder.write_spec(
        JobSpec(
            work_fingerprint="x",
            title="t",
            program="p",
            code={},
            libraries={},
            ranks_per_node=4,
            config={},
            inputs={},
            out="",
        )
    )
    clock = iter([100.0, 1900.0, 5000.0, 6800.0])
    monkeypatch.setattr("neo_assets.core.jobs.time.time", lambda: next(clock))
    for attempt, joules in (("1", 10.0), ("2", 25.0)):
        monkeypatch.setenv("NEO_JOB_ATTEMPT", attempt)
        reporter = Reporter(tmp_path)
        reporter.send("checkpoint")
        reporter.send("progress", joules=joules, energy_from="RAPL, 1 package(s)")
    used = usage(folder)
    assert (used.seconds, used.rank_hours, used.joules, used.measured_by) == (3600.0, 4.0, 35.0, "RAPL, 1 package(s)")
    assert used.cost(1.5) == 6.0 and used.cost(None) is None


def test_a_plan_of_an_impossible_run_is_refused() -> None:
    run = load("laptop").runs["main"]
    with pytest.raises(ValidationError, match="must be a multiple of data-parallel ranks"):
        type(run).model_validate(run.model_dump() | {"global_batch": 15})
