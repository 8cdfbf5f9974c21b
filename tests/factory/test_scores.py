"""Scores as the factory makes them: gathered, judged, made without a network, and a worse model stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.declare import key
from neo_assets.tasks.benchmark_items import current_benchmarks
from tests.factory.conftest import Factory

ALONE = ["unshare", "--map-root-user", "--net"]


def test_gates_are_checks_and_all_scores_are_on_one_page(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    store = Store(factory.folder / "store")
    made = store.head("ci", "comparison")
    assert [c.name for c in made.verdict] == [
        "no_regression",
        "better_than_parent",
        "languages_in_step",
        "no_contamination",
        "guessing_is_chance",
        "sane",
    ]
    assert not any(c.blocking for c in made.verdict), "in ci and laptop gates warn"
    assert int(str(store.head("ci", "score_matrix").manifest.numbers["checkpoints"])) >= 2, (
        "the due ones, and what other tests here asked for"
    )
    tokens = {
        (row["run"], row["step"]): row["tokens"]
        for row in store.head("ci", "score_matrix").table("scores.parquet").to_pylist()
    }
    own = next(store.root.glob("checkpoint/decay/0000006-*/manifest.json"))
    assert tokens["decay", 6] == tokens["main", 20] + json.loads(own.read_text())["numbers"]["trained_tokens"], (
        "the second phase goes on where the first ended"
    )
    page = made.file("scores.html").read_text(encoding="utf-8")
    assert "general_zh" in page and "data not here: put it at" in page


def test_a_check_that_only_warns_is_not_called_blocking_in_the_ui(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    from neo_assets.build import build_definitions

    graph = build_definitions(load("ci")).resolve_asset_graph()
    blocking = {k: graph.get_check_spec(k).blocking for k in graph.asset_check_keys}
    with dg.DagsterInstance.from_config(str(environment.folder / "home")) as instance:
        records = instance.event_log_storage.get_asset_check_summary_records(list(blocking))
    judged = {k: record.last_completed_check_execution_record for k, record in records.items()}
    severities = {k: r.evaluation.severity for k, r in judged.items() if r and r.evaluation}
    assert len(severities) == len(blocking)
    assert {
        k for k, severity in severities.items() if (severity is dg.AssetCheckSeverity.ERROR) != blocking[k]
    } == set()
    assert (
        blocking[dg.AssetCheckKey(key("comparison"), "no_regression")] is False
        and blocking[dg.AssetCheckKey(key("pretraining/main"), "loss_falls")] is True
    )


def test_the_command_line_finds_the_benchmarks_that_the_factory_made(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    store = Store(environment.folder / "store")
    assert (
        current_benchmarks(load("ci"), store, pytest.fail).fingerprint
        == store.head("ci", "benchmark_items").fingerprint
    )


def test_a_task_that_was_changed_is_asked_again_alone_and_without_a_network(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here (unshare --map-root-user --net)")
    questions = tmp_path / "ours.jsonl"
    good = [
        json.dumps({"question": f"Which number is {i}?", "choices": ["none", str(i)], "answer": 1}) for i in range(4)
    ]
    questions.write_text("\n".join(good))
    text = (
        f"evaluation:\n  benchmarks:\n    ours: {{kind: choice, path: {questions}, lang: en, licence: ours,"
        " decontaminate: false}\n"
    )
    text += "  suites:\n    smoke: [general_en, {task: general_zh, first: 20}, {task: arithmetic, first: 8}, ours]\n"
    extra = factory.another_recipe(tmp_path, "offline", text)
    prepared = factory.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "definitions",
        "--select",
        '+key:"pretraining_decay" or +key:"heldout_tasks" or key:"contamination"',
        **extra,
    )
    assert prepared.returncode == 0, prepared.stderr[-3000:]

    def evaluate() -> subprocess.CompletedProcess[str]:
        return factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "evaluate", before=ALONE, **extra)

    def asked(done: subprocess.CompletedProcess[str]) -> list[str]:
        assert done.returncode == 0, done.stderr[-4000:]
        return [line.split(": ", 1)[1] for line in done.stderr.splitlines() if " scoring " in line]

    assert asked(evaluate()) == ["general_zh_20, arithmetic_8, ours"] * 2, (
        "general_en and what was written are as they were"
    )
    questions.write_text("\n".join([*good[:3], good[3].replace('"answer": 1', '"answer": 0')]))
    assert asked(evaluate()) == ["ours"] * 2
    questions.write_text("\n".join([*good[:2], '{"question": "What?", "choices": ["a", "b"], "answer": 2}']))
    for broken in (evaluate(), factory.neo("eval", "decay@6", **extra)):
        assert broken.returncode and "ours.jsonl: line 3: answer is 2, but there are 2 choices" in broken.stderr, (
            broken.stderr[-2000:]
        )
    rows = json.loads(factory.neo("scores", "decay", "--json", **extra).stdout)
    assert {"general_en", "general_zh", "general_zh_20", "arithmetic_8"} <= {row["task"] for row in rows}


def test_a_worsened_model_is_stopped_by_exit_code_and_nothing_is_released(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    """The second phase at a hundred times its learning rate: its last checkpoint is worse than the first phase's."""
    text = (
        "runs:\n  decay: {schedule: {peak_lr: 0.3}}\nevaluation:\n  gates: {regression: {alpha: 0.2, blocking: true}}\n"
    )
    extra = factory.another_recipe(tmp_path, "worse", text)
    done = factory.factory(**extra)
    assert done.returncode != 0 and "no_regression" in done.stderr
    store = Store(factory.folder / "store")
    pointer = store.head_pointer("worse", "comparison")
    assert pointer is not None
    refused = store.find(*pointer)
    assert refused is not None and [c.name for c in refused.refused_by] == ["no_regression"]
    assert "bits_per_byte_en_30" in refused.refused_by[0].detail
    assert store.head_pointer("worse", "factory_report") is None
    said = factory.neo("summary", **extra)
    assert said.returncode == 2 and "was refused by its checks (no_regression: decay" in said.stderr
    compared = factory.neo("compare", "main@last", "decay@6", "--fail-if-worse", "--alpha", "0.2", **extra)
    assert compared.returncode == 1 and "B is worse" in compared.stdout


def test_a_model_from_elsewhere_is_a_baseline_as_long_as_it_is_the_same_model(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    store = Store(factory.folder / "store")
    folder = tmp_path / "theirs"

    def put(run: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(
            next((store.root / "hf_model" / run).iterdir()), folder, ignore=shutil.ignore_patterns("manifest.json")
        )

    text = (
        f"evaluation:\n  baseline: {{path: {folder}}}\n  gates: {{regression: {{against: [baseline], alpha: 0.2,"
        " blocking: true}}\n"
    )
    extra = factory.another_recipe(tmp_path, "held", text)
    select = ("dagster", "asset", "materialize", "-m", "definitions", "--select", 'key:"comparison"')
    put("main")
    first = factory.factory(**extra)
    made = store.head_pointer("held", "comparison")
    assert made is not None and "scoring model.theirs" in first.stderr, first.stderr[-3000:]
    compared = json.loads((store.folder(*made) / "comparisons.json").read_text())
    assert {row["against"] for row in compared} == {"baseline theirs"}
    asked = factory.neo("eval", str(folder), **extra)
    assert asked.returncode == 0 and ", 0 scores made now" in asked.stdout, asked.stderr[-3000:]
    put("decay")
    other = factory.run(*select, **extra)
    assert "scoring model.theirs" in other.stderr, other.stderr[-3000:]
    assert store.head_pointer("held", "comparison") != made, (
        "another model under the same name is not the one that was compared"
    )
