"""A run for so many GPUs and hours: it fills them, fits, and can be written into a recipe as it is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import Recipe, load
from neo_assets.runs.plan import GIB, estimate, flops, ids, memory
from neo_assets.runs.proposal import FILLED, Asked, as_recipe, propose

H800 = 337e12


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("neo-7b")


@pytest.mark.parametrize(
    ("gpus", "hours", "gib"), [(1, 24, 24), (1, 24, 80), (4, 10, 40), (8, 48, 80), (16, 48, 80), (64, 336, 80)]
)
def test_what_is_proposed_fills_the_hours_and_fits(recipe: Recipe, gpus: int, hours: float, gib: float) -> None:
    run, why = propose(Asked(gpus, hours, H800, gib * GIB), recipe.runs["main"], recipe.tokenizer)
    rows = run.model.vocab_rows(ids(recipe.tokenizer))
    budget = gpus * hours * 3600 * H800
    assert flops(run, rows, run.steps * run.tokens_per_step) == pytest.approx(budget, rel=0.01)
    assert memory(run, rows, gpus=True).total <= FILLED * gib * GIB and run.ranks == gpus
    size, tokens = run.model.parameters(rows), run.steps * run.tokens_per_step
    assert size == pytest.approx((budget / 120) ** 0.5, rel=0.06)
    assert 12 < tokens / size < 25  # attention and the batch take their share of the twenty
    assert len(run.checkpoint_steps()) <= 21 and run.accumulation >= 1
    assert {row["what"] for row in why} >= {"parameters", "tokens", "peak rate", "checkpoints"}


def test_it_is_shaped_as_models_of_its_size_are(recipe: Recipe) -> None:
    run, _ = propose(Asked(8, 48, H800, 80 * GIB), recipe.runs["main"], recipe.tokenizer)
    assert 48 <= run.model.hidden / run.model.layers <= 128 and run.model.head_dim == 128
    assert run.model.ffn == pytest.approx(run.model.hidden * 8 / 3, rel=0.05)


def test_checkpoints_fit_the_disk_and_one_without_room_for_two_is_refused(recipe: Recipe) -> None:
    asked = Asked(8, 48, H800, 80 * GIB, disk=100e9)
    run, _ = propose(asked, recipe.runs["main"], recipe.tokenizer)
    size = run.model.parameters(run.model.vocab_rows(ids(recipe.tokenizer))) * 14
    assert 2 <= len(run.checkpoint_steps()) <= 100e9 / size
    with pytest.raises(BadInput, match="two checkpoints take"):
        propose(Asked(8, 48, H800, 80 * GIB, disk=10e9), recipe.runs["main"], recipe.tokenizer)


@pytest.mark.parametrize(
    ("gpus", "hours", "gib", "said"),
    [
        (12, 48, 80, "--gpus 12: up to 8, or whole nodes of 8"),
        (1, 0.0001, 80, "no shape has about 1,005,485 parameters with an embedding table of 64,256 rows"),
        (1, 1e6, 8, "does not fit into 1 GPUs of 8 GiB, whatever is recomputed and sharded"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    recipe: Recipe, gpus: int, hours: float, gib: float, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        propose(Asked(gpus, hours, H800, gib * GIB), recipe.runs["main"], recipe.tokenizer)


def test_what_is_printed_is_the_run_that_was_proposed(recipe: Recipe, tmp_path: Path) -> None:
    run, _ = propose(Asked(16, 48, H800, 80 * GIB), recipe.runs["main"], recipe.tokenizer)
    file = tmp_path / "mine.yaml"
    others = "  decay: null\n  foundational: null\n  chat: null\n  dpo_1: null\n  dpo_2: null\n  dpo_3: null\n"
    printed = as_recipe("main", run, recipe.runs["main"])
    file.write_text(f"extends: neo-7b\nname: mine\nalign: null\n{printed}{others}", encoding="utf-8")
    assert load(str(file)).runs["main"] == run


def test_the_law_of_the_recipe_says_the_size_where_it_was_fitted(recipe: Recipe) -> None:
    asked = Asked(8, 48, H800, 80 * GIB, parameters=7e8, embeddings_count=False)
    run, why = propose(asked, recipe.runs["main"], recipe.tokenizer)
    rows = run.model.vocab_rows(ids(recipe.tokenizer))
    assert run.model.parameters(rows) - run.model.embedding_parameters(rows) == pytest.approx(7e8, rel=0.06)
    assert any("by the recipe's own law" in str(row["from"]) for row in why)


def test_the_command_prints_table_and_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_RECIPE", "neo-7b")
    said = CliRunner().invoke(app, ["plan", "--gpus", "16", "--hours", "48"], catch_exceptions=False).output
    assert "tokens a parameter (2203.15556)" in said and "runs:\n  main:\n" in said and "nodes: 2" in said
    told = json.loads(CliRunner().invoke(app, ["plan", "--gpus", "16", "--hours", "48", "--json"]).output)[0]
    assert told["run"]["nodes"] == 2 and told["run"]["ranks_per_node"] == 8
    wrong = CliRunner().invoke(app, ["plan", "nope", "--gpus", "16", "--hours", "48"]).exception
    assert "has no run 'nope'; it has main, " in str(wrong)
    assert "go together" in str(CliRunner().invoke(app, ["plan", "--gpus", "16"]).exception)


@pytest.mark.parametrize(
    ("name", "asked"), [("speedrun", Asked(1, 24, 60e12, 24 * GIB)), ("node", Asked(8, 72, H800, 80 * GIB))]
)
def test_the_shipped_recipes_are_what_is_proposed_for_their_machines(name: str, asked: Asked) -> None:
    shipped = load(name)
    run, _ = propose(asked, shipped.runs["main"], shipped.tokenizer)
    assert as_recipe("main", run, shipped.runs["main"]) == "runs:\n  main: {}\n"
    planned = estimate(shipped.runs["main"], shipped.tokenizer, shipped.compute)
    assert float(str(planned["hours"])) == pytest.approx(asked.hours, rel=0.01)
    assert planned["GPU: GiB in all"] <= FILLED * asked.gpu_bytes / GIB
