"""A cleaning step is one file and a line of the recipe: graph, plan, ledger, funnel, report and checks know it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neo_assets.core.fingerprint import ROOT
from tests.corpora import keepable

STEP = '''
"""``long_enough/‹lang›``: no text shorter than the recipe says."""

from functools import partial

import numpy as np
import pyarrow.compute as pc
from pydantic import Field

from neo_assets.core import records
from neo_assets.core.recipe.base import Section
from neo_assets.core.stage import Claim, Step, StepInput
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Check


class LongEnough(Section):
    min_characters: int = Field(ge=1)


def drop_short(config: StepInput[LongEnough], inputs, out):
    """Documents that are long enough."""
    (before,) = inputs.values()
    outcome = run_step(
        f"long_enough/{config.lang}", before.files(records.PART), partial(_decide, config.settings), out,
        expected=before.manifest.rows_kept or 0,
    )
    outcome.checks.append(Check(name="long", passed=True, detail="as asked"))
    return outcome


def _decide(settings, documents, shard):
    decision = Decision.keep(documents.num_rows)
    length = pc.utf8_length(documents.column("text")).to_numpy()
    short = length < settings.min_characters
    decision.dropped |= short
    decision.rule[short] = "too_short_for_us"
    decision.value[short], decision.threshold[short] = length[short], settings.min_characters
    return decision


STEP = Step("long enough", drop_short, settings=LongEnough, claims=[Claim("long", "Nothing short is left.")])
'''

BUILD = """
import json
from neo_assets.build import build_definitions, stages
from neo_assets.core.recipe import load
from neo_assets.core.place import store_root
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.report.assets import stages as report_of
from neo_assets.report.fates import kept_and_dropped
from neo_assets.report.page import render
from resources.ledger import Ledger

recipe, store = load(), Store(store_root())
told = stages(recipe)
made = {}
for name, stage in told.items():
    if stage.room in ("crawl", "extract", "clean", "dedup") or stage.kind == "long_enough" or name == "matrix":
        inputs = {n: store.head(recipe.name, n) for n in stage.reads}
        made[name], _ = store.build(name, stage.made_from(inputs), lambda out: stage.run(stage.config, inputs, out))
        store.set_head(recipe.name, name, name, made[name].fingerprint)
graph = build_definitions(recipe).resolve_asset_graph()
node = graph.get(key("long_enough/en"))
(report,) = report_of(recipe, [s for s in told.values() if s.room != "report"])
part = kept_and_dropped(made, Ledger(store, recipe.name, recipe.makes), 3, report.config.labels, report.config.divides)
print(json.dumps({
    "order": list(told),
    "group": node.group_name,
    "before": sorted(k.to_user_string() for k in node.parent_keys),
    "checks": sorted(k.name for k in graph.get_check_keys_for_assets({node.key})),
    "report": str(part.blocks),
    "matrix": made["matrix"].manifest.rows_kept,
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with one more file, and a recipe with one more line."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("neo_assets", "resources", "training", "recipes"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "neo_assets" / "quality" / "long_enough.py").write_text(STEP)
    short, more = keepable(random.Random(1)), keepable(random.Random(2))
    lines = [
        {"text": short + "\n" + more, "url": "http://a.example/long"},
        {"text": short, "url": "http://a.example/short"},
    ]
    (root / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "recipes" / "mine.yaml").write_text(RECIPE)
    return root


RECIPE = """
extends: laptop
sources:
  handbook: null
  help_en: null
  help_zh: null
  mine: {kind: documents, paths: [mine.jsonl], licence: CC0-1.0, snapshot: '1'}
languages: [en]
steps: {en: [clean_docs, exact_dedup, {long_enough: {min_characters: 1000}}]}
mixture:
  fundamental: {rounds: {zh: null}}
  decay: {rounds: {zh: null}, recalled_rounds: null}
high_quality: null
"""


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))}
    environment |= {
        "PYTHONPATH": str(tree),
        "NEO_RECIPE": "mine",
        "NEO_STORE": str(tree / "store"),
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_one_file_and_one_line_make_a_step_that_everything_knows(tree: Path) -> None:
    built = run(tree, "-c", BUILD)
    assert built.returncode == 0, built.stderr
    found = json.loads(built.stdout.splitlines()[-1])
    order = found["order"]
    assert order.index("exact_dedup/en") < order.index("long_enough/en") < order.index("matrix")
    assert found["group"].endswith("_quality") and found["before"] == ["exact_dedup_en"]
    assert found["checks"] == ["language_not_empty", "long", "rows_balance"]
    assert found["matrix"] == 1
    assert "long enough" in found["report"] and "too_short_for_us" in found["report"]

    def neo(*command: str) -> list[dict[str, object]]:
        done = run(tree, "-m", "neo_assets.cli", *command, "--json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, object]] = json.loads(done.stdout)
        return rows

    fate = neo("fate", "http://a.example/short")
    assert [row["stage"] for row in fate][-2:] == ["exact_dedup/en", "long_enough/en"]
    assert fate[-1]["rule"] == "too_short_for_us" and fate[-1]["threshold"] == 1000
    assert any(row["stage"] == "long_enough/en" and row["rule"] == "too_short_for_us" for row in neo("funnel"))
    assert "long_enough/en" in neo("plan")[0]["artifacts"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{long_enough: {min_characters: 0}}", "steps.en[2].long_enough.min_characters"),
        ("{long_enough: {min_chars: 1}}", "steps.en[2].long_enough.min_characters"),
        ("long_enough", "steps.en[2].long_enough.min_characters: Field required"),
        ("{near_dedup: {bands: 1}}", "steps.en[2].near_dedup takes no settings in its line"),
        ("long_enogh", "Steps are clean_docs"),
        ("signals", "Steps are clean_docs"),
        ("near_dedupe", "Did you mean near_dedup"),
    ],
)
def test_a_line_that_says_something_wrong_is_named_with_its_place(tree: Path, line: str, said: str) -> None:
    (tree / "recipes" / "wrong.yaml").write_text(f"extends: mine\nsteps:\n  en: [clean_docs, exact_dedup, {line}]\n")
    environment = {"PYTHONPATH": str(tree), "NEO_RECIPE": "wrong"}
    done = subprocess.run(
        [sys.executable, "-m", "neo_assets.cli", "plan"],
        cwd=tree, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and said in done.stderr and "wrong.yaml:3" in done.stderr, done.stderr
