"""A cleaning step, a kind of source or benchmark, a backend: one file and a line of the recipe, and everything knows
it: graph, plan, ledger, funnel, report and checks.
"""

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
from neo_assets.core.stage import Claim, Need, Step, StepInput
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


STEP = Step("long enough", drop_short, settings=LongEnough, claims=[Claim("long", "Nothing short is left.")],
            needs=[Need("json", "all"), Need("no_such_module", "toys")])
'''

SOURCE = '''
"""Lines of a text file, one document each."""

from pathlib import Path
from typing import Literal

from neo_assets.core.recipe.sources import FilesSource
from neo_assets.core.stage import SourceKind
from neo_assets.crawl.catalogue import refuse_changed_files
from neo_assets.crawl.documents_source import read_documents_source


class Plain(FilesSource):
    kind: Literal["plain"]
    marker: str = "-"


def read(config, inputs, out):
    """Every line that has the marker."""
    refuse_changed_files(config, next(iter(inputs.values())))
    return MARKED


SOURCE = SourceKind(Plain, read)
'''

BENCHMARK = '''
"""Capitals, as questions with two choices."""

import json
from typing import Literal

from neo_assets.core.recipe.evaluation import BenchmarkSection, Choice
from neo_assets.core.stage import BenchmarkKind
from neo_assets.tasks.benchmarks import own_questions


class Capitals(BenchmarkSection):
    kind: Literal["capitals"]
    shown: int = 1


def build(name, benchmark, data, out):
    plain = Choice(kind="choice", path=benchmark.path, lang=benchmark.lang, licence=benchmark.licence)
    return own_questions.build(name, plain, data, out)


BENCHMARK = BenchmarkKind(Capitals, build)
'''

BACKEND = '''
"""Here, under another name."""

from resources.compute.local import LocalCompute


class Elsewhere(LocalCompute):
    name = "elsewhere"

    def launch_command(self, name, run):
        return f"elsewhere --queue {self.settings.backend_options['queue']} {name}"


BACKEND = Elsewhere
'''

BUILD = """
import json
from neo_assets.build import build_definitions, stages
from neo_assets.core.recipe import load
from neo_assets.core.place import store_root
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.report.fates import kept_and_dropped
from neo_assets.report.funnel import read_funnel
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
ledger = Ledger(store, recipe.name, recipe.makes)
funnel = told["funnel"]
work = lambda out: funnel.run(funnel.config, made, out, ledger=ledger)
gathered, _ = store.build("funnel", funnel.made_from(made), work)
part = kept_and_dropped(read_funnel(gathered, store))
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
    (root / "neo_assets" / "crawl" / "plain.py").write_text(SOURCE)
    (root / "neo_assets" / "tasks" / "benchmarks" / "capitals.py").write_text(BENCHMARK)
    (root / "resources" / "compute" / "elsewhere.py").write_text(BACKEND)
    question = {"question": "What is the capital of France, on the Seine?", "choices": ["Paris", "Lyon"], "answer": 0}
    (root / "capitals.jsonl").write_text(json.dumps(question) + "\n")
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
  guides: null
  mine: {kind: documents, paths: [mine.jsonl], licence: CC0-1.0, snapshot: '1'}
languages: [en]
steps: {en: [clean_docs, exact_dedup, {long_enough: {min_characters: 1000}}]}
mixture:
  fundamental: {rounds: {zh: null}}
  decay: {rounds: {zh: null}, recalled_rounds: null}
high_quality: null
"""


def run(tree: Path, *command: str, recipe: str = "mine") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))}
    environment |= {
        "PYTHONPATH": str(tree),
        "NEO_RECIPE": recipe,
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
    assert any(row["rule"] == "too_short_for_us" for row in neo("funnel", "long_enough/en"))
    (planned, *_) = neo("plan")
    assert "long_enough/en" in planned["artifacts"]  # type: ignore[operator]
    needed = "long_enough/en: the module no_such_module; pip install -e '.[toys]' brings it"
    assert [told for told in planned["not_here"] if "module" in told] == [needed]  # type: ignore[attr-defined]


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
    done = run(tree, "-m", "neo_assets.cli", "plan", recipe="wrong")
    assert done.returncode == 2 and said in done.stderr and "wrong.yaml:3" in done.stderr, done.stderr


OTHER_KINDS = """
extends: mine
sources:
  mine: null
  lines: {kind: plain, paths: [mine.jsonl], licence: CC0-1.0, snapshot: '1', marker: '+'}
evaluation:
  benchmarks:
    cities: {kind: capitals, path: capitals.jsonl, lang: en, licence: CC0-1.0}
compute: {backend: elsewhere, backend_options: {queue: fast}}
"""
KINDS = """
import json, sys
from neo_assets.build import stages
from neo_assets.core.recipe import load
from neo_assets.core.place import store_root
from neo_assets.core.store import Store

recipe, store = load(), Store(store_root())
told = stages(recipe)
items = told["benchmark_items"]
made, _ = store.build("benchmark_items", items.made_from({}), lambda out: items.run(items.config, {}, out))
print(json.dumps({
    "crawl": [told["raw_crawl/lines"].run.__module__, told["raw_crawl/lines"].config.marker],
    "items": [row for row in made.manifest.tables["benchmarks"] if row["benchmark"] == "cities"],
    "codes": [sorted(n for n in told[s].code if "capitals" in n or "plain" in n) for s in ("benchmark_items", "raw_crawl/lines")],
    "version": [items.version, told["raw_crawl/lines"].version],
}))
"""  # noqa: E501


def test_a_source_a_benchmark_and_a_backend_of_their_own_file(tree: Path) -> None:
    (tree / "recipes" / "kinds.yaml").write_text(OTHER_KINDS)

    def asked() -> dict[str, list[object]]:
        done = run(tree, "-c", KINDS, recipe="kinds")
        assert done.returncode == 0, done.stderr
        found: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
        return found

    found = asked()
    assert found["crawl"] == ["neo_assets.crawl.plain", "+"]
    assert [row["items"] for row in found["items"]] == [1]  # type: ignore[index, call-overload]
    # What their files say counts: an edit makes their artifacts stale.
    assert [len(names) for names in found["codes"]] == [1, 1]  # type: ignore[arg-type]
    for file, changed in (("neo_assets/tasks/benchmarks/capitals.py", 0), ("neo_assets/crawl/plain.py", 1)):
        place = tree / file
        place.write_text(place.read_text() + "\nMORE = 1\n")
        now = asked()
        assert [a != b for a, b in zip(found["version"], now["version"], strict=True)] == [changed == 0, changed == 1]
        found = now
    planned = json.loads(run(tree, "-m", "neo_assets.cli", "plan", "--json", recipe="kinds").stdout)
    assert planned[0]["command"] == "elsewhere --queue fast main"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sources: {lines: {markr: x}}", "sources.lines.markr: there is no such field"),
        ("evaluation: {benchmarks: {cities: {shown: many}}}", "evaluation.benchmarks.cities.shown"),
        ("compute: {backend: elsewher}", "compute.backend: there is no backend of that name"),
        ("sources: {lines: {kind: plainer}}", "kind 'plainer' is none of"),
    ],
)
def test_what_such_a_kind_does_not_take_is_named_with_its_place(tree: Path, line: str, said: str) -> None:
    (tree / "recipes" / "kinds.yaml").write_text(OTHER_KINDS)
    (tree / "recipes" / "wrong.yaml").write_text(f"extends: kinds\n{line}\n")
    done = run(tree, "-m", "neo_assets.cli", "plan", recipe="wrong")
    assert done.returncode == 2 and said in done.stderr and "wrong.yaml:2" in done.stderr, done.stderr


def test_a_step_whose_file_cannot_be_read_is_named_with_its_line(tree: Path) -> None:
    (tree / "neo_assets" / "quality" / "broken.py").write_text(
        '"""Mine."""\n\nclass Mine(Section):\n    pass\n\nSTEP = 1\n'
    )
    (tree / "recipes" / "wrong.yaml").write_text("extends: mine\nsteps:\n  en: [clean_docs, exact_dedup, broken]\n")
    done = run(tree, "-m", "neo_assets.cli", "plan", recipe="wrong")
    assert done.returncode == 2 and "wrong.yaml:3" in done.stderr, done.stderr
    assert "broken.py:3: NameError: name 'Section' is not defined" in done.stderr and "Traceback" not in done.stderr


GERMAN = """
extends: mine
languages: [en, de]
steps: {de: [clean_docs, exact_dedup]}
"""


def test_another_language_is_asked_for_file_by_file_and_then_measured(tree: Path) -> None:
    """The walk of docs/howto.md: every gap is one line, and the English signals serve."""
    data, rules = tree / "neo_assets/core/recipe/data.py", tree / "neo_assets/clean/assets.py"
    recipe = tree / "recipes" / "german.yaml"
    kept = data.read_text(), rules.read_text()

    def planned(text: str) -> subprocess.CompletedProcess[str]:
        recipe.write_text(text)
        return run(tree, "-m", "neo_assets.cli", "plan", "--json", recipe="german")

    try:
        assert "for which there are no rules (docs/howto.md" in planned(GERMAN).stderr
        data.write_text(
            kept[0].replace(
                "    zh: CleanChinese | None = None\n",
                "    zh: CleanChinese | None = None\n    de: CleanEnglish | None = None\n",
            )
        )
        assert "clean.de is not there" in planned(GERMAN).stderr
        english = json.loads(
            run(
                tree, "-c", "from neo_assets.core.recipe import load; print(load('laptop').clean.en.model_dump_json())"
            ).stdout
        )
        english["bad_words"] = {"path": "lists/no_such_list.txt"}
        text = GERMAN + f"clean: {json.dumps({'de': english})}\n"
        assert "evaluation.heldout.min_context_chars has no 'de'" in planned(text).stderr
        lengths = {
            name: {"de": 40}
            for name in ("min_context_chars", "max_context_chars", "min_choice_chars", "max_choice_chars")
        }
        text += f"evaluation: {json.dumps({'heldout': lengths})}\n"
        done = planned(text)
        assert "no function applies the rules of language 'de'" in done.stderr and "Traceback" not in done.stderr
        rules.write_text(kept[1].replace('"zh": clean_chinese}', '"zh": clean_chinese, "de": clean_english}'))
        done = planned(text)
        assert done.returncode == 0, done.stderr
        assert any("clean.de.bad_words" in line for line in json.loads(done.stdout)[0]["not_here"])
    finally:
        data.write_text(kept[0])
        rules.write_text(kept[1])
    from neo_assets.clean.signals import names

    assert names("de") == (*names("de")[:2], *names("en")[-len(names("de")) + 2 :]) and "ccnet_bucket" not in names(
        "de"
    )
