"""The whole factory on a small site: everything is made once, found again, traceable, and stops where it must."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from neo_assets.core import records
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.tombstones import Target
from neo_assets.declare import key
from neo_assets.release.claims import REFUTED
from neo_assets.release.verify import verify_release
from neo_assets.takedown.reached import reached
from neo_assets.trace.reads import readers, steps_that_read
from neo_assets.trace.search import TraceIndex
from neo_assets.trace.traced import Turn, trace
from tests.factory.conftest import Factory
from tests.release.hub import Hub
from tests.release.tampers import SEEN_ANYWAY, TAMPERS, forge
from tests.trace.test_traced import ALL
from training.weights import master_weights


def instance(factory: Factory) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(factory.folder / "home"))


def store(factory: Factory) -> Store:
    return Store(factory.folder / "store")


def test_everything_is_made(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    heads = store(factory).heads("ci")
    for name in (
        "matrix",
        "tokenizer",
        "token_shards/fundamental",
        "pretraining/main",
        "evaluation/main",
        "factory_report",
    ):
        assert name in heads
    page = store(factory).head("ci", "factory_report").file("report.html").read_text(encoding="utf-8")
    assert "pretraining/main" in page


def test_checkpoints_and_scores_are_partitions(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    with instance(factory) as dagster:
        checkpoints = sorted(dagster.get_materialized_partitions(key("checkpoint/main")))
        assert [int(name.split("-")[0]) for name in checkpoints] == [0, 1, 2, 10, 20]
        scored = sorted(dagster.get_materialized_partitions(key("eval_scores/main")))
        assert [int(name.split("-")[0]) for name in scored] == [20]
        records = dagster.fetch_materializations(key("checkpoint/main"), limit=10).records
        last = max(records, key=lambda r: str(r.partition_key)).asset_materialization
        assert last is not None and {"loss", "tokens", "digest", "path"} <= last.metadata.keys()
        # Checkpoints were recorded while the training step ran, not when it had ended.
        finished = dagster.fetch_materializations(key("pretraining/main"), limit=1).records[0]
        assert all(record.storage_id < finished.storage_id for record in records)


def test_rows_in_are_rows_kept_and_dropped_at_every_stage(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    found = store(factory)
    stages = [found.require(*pointer) for name, pointer in found.heads("ci").items() if "@" not in name]
    counted = [a for a in stages if a.manifest.rows_in is not None]
    assert len(counted) > 15
    assert all(a.manifest.rows_in == (a.manifest.rows_kept or 0) + (a.manifest.rows_dropped or 0) for a in counted)


def test_running_again_makes_nothing(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    jobs = sorted((factory.folder / "store" / "jobs").iterdir())
    before = store(factory).heads("ci")
    done = factory.factory()
    assert done.returncode == 0, done.stderr[-4000:]
    assert " made in " not in done.stderr
    assert done.stderr.count(" reused ") == len([n for n in before if "@" not in n])
    assert store(factory).heads("ci") == before
    assert sorted((factory.folder / "store" / "jobs").iterdir()) == jobs


@pytest.mark.parametrize(
    ("url", "ending"),
    [
        ("http://en.example/story001.html", [("mixture/fundamental", "kept"), ("train_pool", "dropped")]),
        ("http://site.example/short.html", [("clean_docs/en", "dropped")]),
        ("http://site.example/french.html", [("signals/handbook", "dropped")]),
        ("http://site.example/nowhere.html", [("raw_crawl/handbook", "dropped")]),
    ],
)
def test_the_fate_of_a_page_is_told(
    first_run: subprocess.CompletedProcess[str], factory: Factory, url: str, ending: list[tuple[str, str]]
) -> None:
    rows = json.loads(factory.neo("fate", url, "--json").stdout)
    assert (rows[-1]["stage"], rows[-1]["verdict"]) in ending


def test_a_mistyped_page_is_answered_with_similar_ones(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    done = factory.neo("fate", "en.example/stoory001.html")
    assert done.returncode == 2
    assert "Did you mean http://en.example/story001.html or" in done.stderr
    assert (
        factory.neo("fate", "en.example/story001.html", "--json").stdout
        == factory.neo("fate", "http://en.example/story001.html", "--json").stdout
    )


def test_jobs_of_every_kind_are_listed_with_their_progress(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    rows = json.loads(factory.neo("jobs", "--all", "--json").stdout)
    progress = {row["what"]: row["progress"] for row in rows}
    assert progress["pretraining/main"].startswith("step 20/20, loss ")
    assert progress["pretraining/decay"].startswith("step 6/6, loss ")
    assert next(p for what, p in progress.items() if what.startswith("eval_scores/main")).startswith("task 6/6, ")
    assert any(what.startswith("hf_model/decay") for what in progress)


def test_the_decay_phase_starts_from_the_first_ones_weights_alone(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    made = store(factory)
    main, decay = (sorted(made.root.glob(f"checkpoint/{run}/*/certificate.json")) for run in ("main", "decay"))
    origin = json.loads(decay[0].read_text())["origin"]
    assert (origin["checkpoint"], origin["take"]) == (main[-1].parent.name, "weights")
    last, first = master_weights(main[-1].parent), master_weights(decay[0].parent)
    # In bf16 the masters begin as the weights that the engine computes with: what the first phase published, to the
    # bit.
    assert all(torch.equal(last[name].to(torch.bfloat16).float(), first[name]) for name in last)
    rates = made.head("ci", "pretraining/decay").table("metrics.parquet").column("lr").to_pylist()
    assert rates == [
        3e-3 * 0.5 ** (step / 3) for step in range(6)
    ]  # from the peak on: no trace of the first phase's schedule


def test_copies_name_the_page_that_stayed(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    last = [json.loads(factory.neo("fate", f"http://site.example/copy{i}.html", "--json").stdout)[-1] for i in range(3)]
    rules = sorted(row["rule"] for row in last)
    assert rules[1:] == ["near_duplicate", "same_text"]
    assert sum(str(row["twin"] or "").startswith("http://site.example/copy") for row in last) == 2


def test_an_english_threshold_touches_no_chinese_artifact(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    from neo_assets.build import stages

    recipe = load("ci")
    assert recipe.clean.en is not None
    changed = recipe.model_copy(
        update={"clean": recipe.clean.model_copy(update={"en": recipe.clean.en.model_copy(update={"min_words": 60})})}
    )
    before, after = stages(recipe), stages(changed)
    assert [name for name in before if before[name].version != after[name].version] == [
        "clean_docs/en",
        "factory_report",
        "paper",
        "release",
        "site",  # all four print the recipe
    ]


def test_a_new_snapshot_touches_only_its_source(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    from neo_assets.build import stages

    recipe = load("ci")
    source = recipe.sources["help_zh"].model_copy(update={"snapshot": "later"})
    changed = recipe.model_copy(update={"sources": {**recipe.sources, "help_zh": source}})
    before, after = stages(recipe), stages(changed)
    assert [name for name in before if before[name].version != after[name].version] == [
        "sources/help_zh",
        "raw_crawl/help_zh",
        "documents/help_zh",
        "factory_report",
        "paper",
        "release",
        "site",
    ]


def test_why_names_the_threshold_that_changed(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    recipe = tmp_path / "ci.yaml"
    recipe.write_text("extends: base\nclean:\n  en: {min_words: 60}\n")
    root = Path(__file__).resolve().parents[2] / "recipes"
    (tmp_path / "base.yaml").write_text((root / "ci.yaml").read_text())
    (tmp_path / "laptop.yaml").write_text((root / "laptop.yaml").read_text())
    done = factory.neo("why", "clean_docs/en", "--json", NEO_RECIPE=str(recipe))
    assert json.loads(done.stdout) == [{"asset": "clean_docs/en", "because": "recipe: min_words: 50 -> 60"}], (
        done.stderr
    )
    assert json.loads(factory.neo("why", "clean_docs/zh", "--json", NEO_RECIPE=str(recipe)).stdout) == []
    found = {s["name"]: s for s in json.loads(factory.neo("status", "--json", NEO_RECIPE=str(recipe)).stdout)}
    assert (found["clean_docs/en"]["state"], found["clean_docs/zh"]["state"]) == ("stale", "made")
    assert found["clean_docs/en"]["because"] == "recipe: min_words: 50 -> 60"
    below = {name for name, s in found.items() if (s["state"], s["because"]) == ("below", "clean_docs/en")}
    assert {"exact_dedup/en", "matrix", "tokenizer", "pretraining/decay"} <= below
    told = factory.neo("status", NEO_RECIPE=str(recipe)).stdout
    assert "Asking now makes" in told and "for what lies below, where it comes out another" in told


def test_the_status_of_a_finished_build(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("extends: ci\nname: other\nruns: {decay: {seed: 5}}\n")
    found = {s["name"]: s for s in json.loads(factory.neo("status", "--json", NEO_RECIPE=str(other)).stdout)}
    assert (found["matrix"]["state"], found["matrix"]["because"]) == ("found", "made for recipe 'ci'")
    assert (found["pretraining/main"]["state"], found["pretraining/decay"]["state"]) == ("found", "missing")
    told = factory.neo("status")
    assert told.returncode == 0 and "Everything is made: asking again makes nothing." in told.stdout, told.stderr
    lost = store(factory).head("ci", "fertility").path
    aside = lost.rename(lost.with_name("aside"))
    try:
        found = {s["name"]: s for s in json.loads(factory.neo("status", "--json").stdout)}
    finally:
        aside.rename(lost)
    assert found["fertility"]["state"] == "missing" and "is gone" in found["fertility"]["because"]


def test_whatif_tells_what_another_threshold_would_do(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    (told,) = json.loads(factory.neo("whatif", "clean.en.min_words=350", "--json").stdout)
    by_source = {row["source"]: row for row in told["by_source"]}
    assert by_source["help_en"]["newly dropped"] > 10 and by_source["help_en"]["newly kept"] == 0
    assert by_source["help_en"]["kept now"] - by_source["help_en"]["kept then"] == by_source["help_en"]["newly dropped"]
    example = told["examples"][0]
    assert example["rule"] == "min_words" and 50 <= example["value"] < 350 and example["url"].startswith("http://")
    for wrong, said in (
        ("clean.en.min_wrds=3", "Did you mean min_words"),
        ("clean.fr.min_words=3", "is no change of a threshold"),
        ("clean.en.min_words=many", "given: 'many'"),
        ("clean.en.stop_words=[the]", "only a build can tell"),
        ("clean.en.min_words=", "the value is missing"),
        ("clean.en.min_wikiref_score=0.1", "was not measured in this build"),
    ):
        done = factory.neo("whatif", wrong)
        assert done.returncode == 2 and said in done.stderr


def test_a_sample_shows_what_a_rule_threw_away(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    (row,) = json.loads(factory.neo("sample", "min_words", "--json").stdout)
    assert row["url"] == "http://site.example/short.html" and row["text"].startswith("Short") and row["threshold"] == 50
    done = factory.neo("sample", "min_word")
    assert done.returncode == 2 and "Did you mean" in done.stderr and "min_words" in done.stderr


def test_verify_finds_a_flipped_byte(first_run: subprocess.CompletedProcess[str], factory: Factory) -> None:
    assert factory.neo("verify", "--deep").returncode == 0
    file = store(factory).head("ci", "matrix").file("part-en-00000.parquet")
    data = file.read_bytes()
    file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    done = factory.neo("verify", "--deep")
    file.write_bytes(data)
    assert done.returncode == 1
    assert "matrix" in done.stderr and "part-en-00000.parquet" in done.stderr


def test_gc_shows_and_removes_only_what_no_build_names(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    from neo_assets.core.store import MadeFrom, Outcome

    orphan, _ = store(factory).build(
        "matrix", MadeFrom(config={"old": 1}, code={}, libraries={}, inputs={}), lambda out: Outcome(digest="d")
    )
    assert json.loads(factory.neo("gc", "--json").stdout) == []  # it was just made: a build may be about to name it
    shown = json.loads(factory.neo("gc", "--json", "--grace", "0").stdout)
    artifacts = [row for row in shown if not row["asset"].startswith(("lock", "job of", "results of"))]
    assert [(row["asset"], row["fingerprint"]) for row in artifacts] == [("matrix", orphan.fingerprint[:24])]
    assert orphan.path.is_dir()
    assert factory.neo("gc", "--remove", "--grace", "0").returncode == 0
    assert not orphan.path.exists()
    assert factory.neo("verify").returncode == 0


def test_another_recipe_is_refused_by_this_instance(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    done = factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "crawl_and_clean", NEO_RECIPE="laptop")
    assert done.returncode != 0
    assert "this Dagster instance belongs to recipe 'ci'" in done.stderr


def test_the_graph_has_no_cycle_and_external_assets_come_with_their_producers(environment: Factory) -> None:
    from graphlib import TopologicalSorter

    from neo_assets.build import build_definitions

    graph = build_definitions(load("ci")).resolve_asset_graph()
    order = list(TopologicalSorter({k: graph.get(k).parent_keys for k in graph.get_all_asset_keys()}).static_order())
    assert len(order) == len(graph.get_all_asset_keys())
    for asset in graph.get_all_asset_keys():
        for parent in graph.get(asset).parent_keys:
            if not graph.get(parent).is_executable:
                assert graph.get(parent).parent_keys <= graph.get(asset).parent_keys, (
                    f"{asset} reads {parent} without its producer"
                )
    for asset in graph.get_all_asset_keys():
        node = graph.get(asset)
        assert node.description and node.owners and node.group_name, asset


@pytest.mark.parametrize("name", ["ci", "laptop", "manuals", "neo-7b"])
def test_the_report_reads_every_other_artifact(name: str, environment: Factory) -> None:
    from neo_assets.build import stages

    entries = stages(load(name))
    told = {*entries["factory_report"].reads, *entries["funnel"].reads}
    assert told == set(entries) - {"factory_report", "paper", "release", "site"}


def test_the_sensor_asks_for_each_checkpoint_once(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    from dagster._core.definitions.partitions.context import partition_loading_context

    from neo_assets.build import build_definitions
    from resources.dagster_resources import resources

    definitions = build_definitions(load("ci"))
    sensor = definitions.get_sensor_def("evaluate_checkpoints_main")
    # A context made for tests has no instance reference, from which a real one would look partitions up.
    with instance(environment) as dagster, partition_loading_context(dynamic_partitions_store=dagster):
        ticks = [
            sensor.evaluate_tick(
                dg.build_sensor_context(dagster, definitions=definitions, resources=resources(load("ci")))
            ).run_requests
            or []
            for _ in range(2)
        ]
    assert [int(str(r.partition_key).split("-")[0]) for r in ticks[0]] == [
        0,
        1,
        2,
        10,
    ]  # the factory has scored the last one
    assert [r.run_key for r in ticks[0]] == [r.run_key for r in ticks[1]]  # Dagster starts one run per run key, ever


def test_a_click_on_one_checkpoint_scores_it_and_a_repeat_agrees(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    with instance(factory) as dagster:
        middle = next(
            p for p in sorted(dagster.get_materialized_partitions(key("checkpoint/main"))) if p.startswith("0000010")
        )
    done = factory.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "definitions",
        "--select",
        "key:hf_model_main or key:eval_scores_main",
        "--partition",
        middle,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    scores = store(factory).root / "eval_scores" / "main"
    before = {p.name for p in scores.iterdir()}
    done = factory.run(
        "dagster", "job", "execute", "-m", "definitions", "-j", "reevaluate", "--tags", '{"neofoundry/repeat": "true"}'
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (
        len({p.name for p in scores.iterdir()} - before) == 7
    )  # 6 tasks and the samples of the due checkpoint, once more
    head = store(factory).head("ci", "evaluation/main")
    assert head.manifest.made_from.config["attempts"] == 2
    assert next(c for c in head.verdict if c.name == "repeats_agree").passed


def test_the_schedule_asks_for_what_the_recipe_says(environment: Factory) -> None:
    from neo_assets.build import build_definitions

    definitions = build_definitions(load("ci"))
    schedule = definitions.get_schedule_def("reevaluate_schedule")
    with instance(environment) as dagster:
        tick = schedule.evaluate_tick(dg.build_schedule_context(dagster))
    assert tick.run_requests and tick.run_requests[0].tags["neofoundry/repeat"] == "false"


def test_a_refused_artifact_stops_every_later_run(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    """No Chinese page passes a threshold nobody can meet: the gate stops this run, and what lies
    behind it in the next.
    """
    extra = factory.another_recipe(tmp_path, "strict", "clean:\n  zh: {min_chars: 1000000}\n")
    first = factory.factory(**extra)
    assert first.returncode != 0
    assert "language_not_empty" in first.stderr
    later = factory.run(
        "dagster", "asset", "materialize", "-m", "definitions", "--select", "key:exact_dedup_zh", **extra
    )
    assert later.returncode != 0
    assert "clean_docs/zh" in later.stderr and "was refused by its checks" in later.stderr
    assert not (factory.folder / "store" / "builds" / "strict" / "exact_dedup" / "zh.json").exists()


def test_steps_name_their_documents_and_documents_their_steps(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    seen = json.loads(factory.neo("saw", "main@3..4", "--json").stdout)
    assert {row["step"] for row in seen} == {3, 4} and all(row["url"].startswith("http") for row in seen)
    run = load("ci").runs["main"]
    assert sum(row["tokens"] for row in seen) == 2 * run.tokens_per_step
    page = seen[0]
    when = json.loads(factory.neo("when", page["url"], "--run", "main", "--json").stdout)
    assert sum(row["to_token"] - row["from_token"] for row in when if row["step"] == page["step"]) == page["tokens"]
    by_run = [
        {row["doc_id"] for row in json.loads(factory.neo("saw", steps, "--json").stdout)}
        for steps in ("main@1..20", "decay@1..6")
    ]
    both = min(by_run[0] & by_run[1])
    assert {"main", "decay"} == {row["run"] for row in json.loads(factory.neo("when", both, "--json").stdout)}
    held_out = json.loads(factory.neo("sample", "held_out", "-n", "1", "--json").stdout)[0]
    assert "no step of main, decay saw it" in factory.neo("when", held_out["doc_id"]).stdout
    assert factory.neo("saw", "main@19..21").stderr == "neo: run 'main' has 20 steps; 21 is after its end\n"
    assert (
        "counted from 1" in factory.neo("saw", "main@0").stderr
        and "comes before the first" in factory.neo("saw", "main@4..3").stderr
    )
    in_order = [
        (row["step"], row["place"]) for row in json.loads(factory.neo("saw", "main@1..20", "--tokens", "--json").stdout)
    ]
    assert in_order == sorted(in_order)


def test_a_checkpoint_is_verified_and_proved_by_one_command_each(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    verified = factory.neo("verify", "decay@last")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "trained tokens, counted again from the stream" in verified.stdout and "neo prove decay@6" in verified.stdout
    assert all(row["holds"] for row in json.loads(factory.neo("verify", "main@10", "--json").stdout))
    proved = factory.neo("prove", "main@10")
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "proved: bit for bit what its certificate says; code, libraries and machine as then" in proved.stdout
    assert "\nproved " in factory.neo("verify", "main@10").stdout
    assert "has no checkpoint of step 7; there are: 0, 1, 2, 10, 20" in factory.neo("verify", "main@7").stderr


def test_a_model_writes_on_from_a_text_as_the_report_shows_it(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    samples = json.loads(store(factory).head("ci", "evaluation/main").file("samples.json").read_text(encoding="utf-8"))
    shown = next(s for s in samples if s["lang"] == "zh")
    asked = factory.neo("generate", "main@last", shown["prompt"], "--tokens", "8", "--json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["text"] == shown["continuation"]
    streamed = factory.neo("generate", "main@last", shown["prompt"], "--tokens", "8")
    assert streamed.stdout.strip() == (shown["prompt"] + shown["continuation"]).strip()
    too_long = factory.neo("generate", "main@last", "one two three " * 200)
    assert too_long.returncode and "main@last reads 128 with what it writes" in too_long.stderr


def test_a_passage_is_traced_to_the_steps_whose_text_holds_it(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    """Against what the steps read, decoded: another way than the one by which the trace computes it."""
    recipe, made = load("ci"), store(environment)
    pool = {row["doc_id"]: row["text"] for row in made.head("ci", "train_pool").documents(["text"]).to_pylist()}
    read: dict[tuple[str, int], list[str]] = {}
    for run, steps in (("main", 20), ("decay", 6)):
        for line in map(
            json.loads, environment.neo("saw", f"{run}@1..{steps}", "--text", "--json").stdout.splitlines()
        ):
            read.setdefault((run, line["step"]), []).append("".join(piece for piece, _ in line["pieces"]))
    index, who = TraceIndex(made.head("ci", "trace_index")), readers(made, recipe)
    asked = 0
    for number, text in enumerate(pool.values()):
        begin = len(text) * (number % 5) // 6
        turns = [Turn(text[begin : begin + (24 if number % 2 else 60)])]
        for told in trace(index, turns, ALL, lambda spans, sizes: steps_that_read(who, spans, sizes)).told:
            for document in told.documents if told.units > 4 and told.count == 1 else ():
                passage = pool[document.doc_id].encode()[document.begin : document.end].decode()
                holding = {at for at, texts in read.items() if any(passage in t for t in texts)}
                found = {(r.run, step) for r in document.read for step in r.steps}
                assert holding <= found and all(r.exact for r in document.read)
                for at in found - holding:  # a sequence ends or begins within the passage
                    cuts = [(passage[:n], passage[n:]) for n in range(len(passage) + 1)]
                    assert any(t.endswith(a or "-") or t.startswith(b or "-") for t in read[at] for a, b in cuts)
                asked += 1
    assert asked > 30
    after = environment.neo("trace", "decay@3", "--prompt", "The", "--tokens", "8", "--all", "--json")
    written = json.loads(after.stdout)
    assert [turn["role"] for turn in written["turns"]] == ["prompt", "decay@3"]
    limits = {(r["run"], r["until"]) for t in written["told"] for d in t["documents"] for r in d["read"]}
    assert limits <= {("decay", 3), ("main", 20)}
    whole = environment.neo("trace", next(iter(pool.values()))[:60].rsplit(" ", 1)[0], "--exact")
    assert whole.returncode == 0 and "100%" in whole.stdout and "no proof" in whole.stdout
    for nothing in (" ", str(environment.folder / "empty.txt")):
        (environment.folder / "empty.txt").touch()
        assert "there is no text to trace" in environment.neo("trace", nothing).stderr
    assert "there is no folder" in environment.neo("trace", "the page", "--page", "/nowhere/page.html").stderr
    none = environment.neo("trace", "words that nobody ever wrote so", "--exact")
    assert none.returncode == 1 and "nowhere as a whole" in none.stdout


def test_a_withdrawal_is_told_with_all_that_it_reaches(
    first_run: subprocess.CompletedProcess[str], environment: Factory
) -> None:
    recipe, made = load("ci"), store(environment)
    pool = made.head("ci", "train_pool").documents(["url", "text", "source"]).to_pylist()
    who = {reader.name: reader for reader in readers(made, recipe)}
    for row in pool[::7]:
        found = reached(made, recipe, Target.of(row["url"]))
        assert found.pool == [row["doc_id"]] and found.bytes == len(row["text"].encode())
        assert [e.fingerprint for e in [made.head("ci", "release")]] == found.releases
        (main, decay) = found.runs
        spans = {row["doc_id"]: [(0, found.bytes)]}
        for run in (main, decay):
            (read,) = (
                r
                for r in steps_that_read([who[run.run]], spans, {row["doc_id"]: found.bytes})[
                    row["doc_id"], 0, found.bytes
                ]
            )
            assert run.steps == len(read.steps) and run.first == (read.steps[0] if read.steps else None)
        if main.first is not None:
            before = max(step for step in (0, 1, 2, 10, 20) if step < main.first)
            assert (main.again_from, main.again_steps) == (before, 20 - before)
            assert main.checkpoints == [step for step in (1, 2, 10, 20) if step >= main.first]
            assert (
                decay.through == "main"
                and decay.again_from is None
                and (decay.checkpoints[0], decay.checkpoints[-1]) == (0, 6)
            )
    source = reached(made, recipe, Target.of(f"source:{pool[0]['source']}"))
    assert source.pool == sorted(row["doc_id"] for row in pool if row["source"] == pool[0]["source"])
    assert source.crawled >= len(source.pool)
    ids = {row["doc_id"] for row in pool}
    dropped = [r for r in dropped_copies(made) if r["twin"] in ids]
    assert dropped
    for row in dropped[:5]:
        copy = reached(made, recipe, Target.of(row["doc_id"]))
        assert row["twin"] in copy.copies and copy.releases, row
    assert environment.neo("takedown", "domain:nowhere.example").returncode == 1
    assert "names no domain" in environment.neo("takedown", "domain:").stderr
    said = environment.neo("takedown", pool[0]["url"]).stdout
    assert "1 of them is in the training pool" in said and "Nothing was changed: " in said


def dropped_copies(made: Store) -> list[dict[str, str]]:
    """What was dropped as a copy of something."""
    rows = []
    for name in ("exact_dedup/en", "near_dedup/en", "exact_dedup/zh", "near_dedup/zh"):
        for path in made.head("ci", name).verdicts():
            rows += [r for r in records.read_table(path).to_pylist() if r["twin"] and r["verdict"] == "dropped"]
    return rows


def test_what_checkpoints_wrote_is_traced_for_the_report(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    made = store(factory)
    rows = json.loads(made.head("ci", "traced_samples").file("traced.json").read_text(encoding="utf-8"))
    for run in ("main", "decay"):
        samples = json.loads(made.head("ci", f"evaluation/{run}").file("samples.json").read_text(encoding="utf-8"))
        told = [r for r in rows if r["run"] == run]
        assert ["".join(text for text, _ in r["segments"]) for r in told] == [s["continuation"] for s in samples]
    page = made.head("ci", "factory_report").file("report.html").read_text(encoding="utf-8")
    assert "Verbatim, not cause" in page and page.count('class="quoted"') == sum(
        passage > 0 for r in rows for _, passage in r["segments"]
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Private keys of the owner and of a forger, as openssl makes them."""
    folder = tmp_path_factory.mktemp("keys")
    made = (folder / "owner.pem", folder / "forger.pem")
    for made_key in made:
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(made_key)], check=True
        )
    return made


@pytest.fixture(scope="module")
def released(first_run: subprocess.CompletedProcess[str], factory: Factory, keys: tuple[Path, Path]) -> Path:
    """The factory's release, signed by its owner."""
    folder = factory.folder / "released"
    done = factory.neo("release", str(folder), NEO_SIGNING_KEY=str(keys[0]))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_release_is_verified_without_our_code(released: Path) -> None:
    for command in (
        "sha256sum --check --strict --quiet SHA256SUMS",
        "openssl dgst -sha256 -verify public.pem -signature SHA256SUMS.sig SHA256SUMS",
        f"{Path(sys.executable).with_name('model_signing')} verify key . --signature model.sig --public_key public.pem"
        " --no-ignore-git-paths",
    ):
        done = subprocess.run(command.split(), cwd=released, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_claim_of_a_release_is_proven_reproducible_or_only_claimed(
    released: Path, factory: Factory, tmp_path: Path
) -> None:
    told = factory.neo("verify-release", str(released), "--json", NEO_STORE=str(tmp_path / "no store"), NEO_RECIPE="")
    claims = json.loads(told.stdout)
    assert told.returncode == 0 and {c["verdict"] for c in claims} == {"proven", "reproducible", "claimed"}
    assert json.loads((released / "release.json").read_text())["code_differs"] == [], "all of it was made just now"
    proven = " ".join(c["detail"] for c in claims if c["verdict"] == "proven")
    assert "steps main 1 to 20 and decay 1 to 6" in proven
    assert not (tmp_path / "no store").exists()
    other = tmp_path / "other"
    assert "is there already" in factory.neo("release", str(released), "--unsigned").stderr
    assert "names no private key" in factory.neo("release", str(other)).stderr
    assert factory.neo("release", str(other), "--unsigned").returncode == 0
    assert "nobody signed it" in factory.neo("verify-release", str(other)).stdout
    with_key = factory.neo("verify-release", str(other), "--key", str(released / "public.pem"))
    assert with_key.returncode == 1 and "REFUTED      who holds the key signed these files" in with_key.stdout
    (other / "cards" / "a\nPROVEN       all of it was checked\n\x1b[2A.md").write_text("x")
    said = factory.neo("verify-release", str(other)).stdout
    assert "\x1b" not in said and not re.search("^PROVEN +all of it", said, re.MULTILINE)


def test_cards_are_read_by_the_libraries_that_read_such_cards(released: Path) -> None:
    import mlcroissant
    from huggingface_hub import ModelCard

    card = ModelCard.load(released / "weights/README.md")
    assert card.data.language == ["en", "zh"] and card.data.license == "apache-2.0"
    assert "documents of the pool" in card.text
    listed = mlcroissant.Dataset(jsonld=str(released / "cards/croissant.json"))
    assert not listed.metadata.ctx.issues.errors and not listed.metadata.ctx.issues.warnings
    rows = list(itertools.islice(listed.records("documents"), 3))
    assert all(row["documents/url"].startswith(b"http") and row["documents/licence"] for row in rows)
    openness = yaml.safe_load((released / "cards/mof.yml").read_text(encoding="utf-8"))
    for component in openness["release"]["components"]:
        assert "location" not in component or (released / component["location"]).exists(), component
    for page in ("weights/README.md", "cards/eu_summary.md", "cards/datasheet.md"):
        links = re.findall(r"\]\(([^)]+)\)", (released / page).read_text(encoding="utf-8"))
        assert len(links) > 20 and all(((released / page).parent / link).exists() for link in links)
    paper = (released / "paper/paper.md").read_text(encoding="utf-8")
    recipe = (released / "recipe/recipe.yaml").read_text(encoding="utf-8").splitlines()
    assert "| learned vocabulary | [64,000 pieces](statements.yaml#L" in paper
    value, line = re.findall(r"\| \[([\d,]+)\]\(\.\./recipe/recipe\.yaml#L(\d+)\)", paper)[0]
    assert recipe[int(line) - 1].strip() == f"vocab_size: {value.replace(',', '')}"
    for link in re.findall(r"\]\(((?:\.\./|statements)[^)]+)\)", paper):
        assert (released / "paper" / link.partition("#")[0]).exists(), link


def test_what_a_hub_was_sent_is_verified_and_its_revisions_load(
    first_run: subprocess.CompletedProcess[str], factory: Factory, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    hub = Hub()
    try:
        told = {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_XET": "1"}
        command = ["release", str(tmp_path / "bundle"), "--push", "somebody/ci"]
        done = factory.run("neo_assets.cli", *command, NEO_SIGNING_KEY=str(keys[0]), **told)
    finally:
        hub.close()
    assert done.returncode == 0, done.stderr[-3000:]
    assert "read back: every file is the one that was sent" in done.stdout
    for revision, files in hub.repositories["somebody/ci"].items():
        for name, data in files.items():
            place = tmp_path / revision / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    assert REFUTED not in {c.verdict for c in verify_release(tmp_path / "main/release")}
    revisions = sorted(hub.repositories["somebody/ci"].keys() - {"main"})
    assert len(revisions) >= 3 and revisions[-1].startswith("main-step0000020-tokens")
    for name in ("main", revisions[-1]):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert sum(parameter.numel() for parameter in model.parameters()) > 0
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        links = [link.partition("#")[0] for link in re.findall(r"\]\((?!http)([^)]+)\)", card)]
        assert len(links) > 8 and all((tmp_path / name / link).exists() for link in links), name


@pytest.mark.parametrize("name", TAMPERS)
def test_what_was_changed_behind_its_owners_back_is_named(
    name: str, released: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(released, tmp_path / "given"))
    named = TAMPERS[name](folder)
    refuted = [c.detail for c in verify_release(folder) if c.verdict == REFUTED]
    assert any(named in detail for detail in refuted), (named, refuted)
    if name == "symlink":
        return  # no tool signs one
    forge(folder, keys[1])
    public = released / "public.pem"
    assert any("not this key's" in c.detail for c in verify_release(folder, public) if c.verdict == REFUTED)
    seen = [c.detail for c in verify_release(folder) if c.verdict == REFUTED]
    assert bool(seen) == (name in SEEN_ANYWAY), seen


def test_cards_of_another_version_are_claimed_and_not_called_wrong(
    released: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(released, tmp_path / "given"))
    file = folder / "release.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"worded": "0" * 32}, indent=1, ensure_ascii=False))
    forge(folder, keys[1])
    claims = {c.claim: c.verdict for c in verify_release(folder)}
    assert claims["every number of the cards and of the paper is that of the file it links to"] == "claimed"
    assert claims["recipe/recipe.yaml has the settings that every step was made with"] == "proven"
    assert REFUTED not in claims.values()


def test_a_release_of_an_earlier_version_is_claimed_and_not_called_wrong(
    released: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(released, tmp_path / "given"))
    file = folder / "release.json"
    told = json.loads(file.read_text())
    del told["worded"]
    for part in told["parts"]:
        del part["stream"]
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False))
    forge(folder, keys[1])
    verdicts = {c.claim: c.verdict for c in verify_release(folder)}
    assert verdicts["what else the files say"] == "claimed" and REFUTED not in verdicts.values()


def test_a_branch_is_recorded_beside_the_recipe_and_shown_in_lineage(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path: Path
) -> None:
    extra = factory.another_recipe(tmp_path, "branched", "description: branches\n")
    made = factory.run(
        "dagster", "job", "execute", "-m", "definitions", "-j", "factory", **extra
    )  # everything is there: the same store
    assert made.returncode == 0, made.stderr[-4000:]
    refused = factory.neo("continue", "main@10", "steps=5", "--as", "main_b", **extra)
    assert (
        "would end at step 5, but it starts from its parent's step 10" in refused.stderr
        and not (tmp_path / "branched.branches.yaml").exists()
    )
    assert (
        "nothing would differ from run 'main'" in factory.neo("continue", "main@10", "--as", "main_b", **extra).stderr
    )
    done = factory.neo(
        "continue",
        "main",
        "--without-steps",
        "13..14",
        "--as",
        "main_b",
        "--because",
        "a spike",
        "ranks_per_node=2",
        **extra,
    )
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "branched.branches.yaml").read_text()
    assert "because: " in written and "a spike" in written and "skip_samples" in written and "step: 10" in written
    trained = factory.run("dagster", "job", "execute", "-m", "definitions", "-j", "pretrain", **extra)
    assert trained.returncode == 0, trained.stderr[-4000:]
    branch = next(store(factory).root.glob("checkpoint/main_b/0000020-*"))
    certificate = json.loads((branch / "certificate.json").read_text())
    assert certificate["origin"]["checkpoint"].startswith("0000010-") and certificate["origin"]["take"] == "everything"
    assert certificate["next_sample"] == (20 + 2) * 8  # two steps' batches were left out
    assert factory.neo("verify", "main_b@20", **extra).returncode == 0
    summary = factory.neo("summary", **extra)
    assert summary.returncode == 0 and "not evaluated yet: main_b" in summary.stdout, summary.stderr
    whole = json.loads(factory.neo("summary", "--json", **extra).stdout)
    assert whole["not_evaluated"] == ["main_b"] and Path(whole["report"]).is_file()
    assert {row["checkpoint"] for row in whole["written"]} and {row["run"] for row in whole["scores"]} == {
        "main",
        "decay",
    }
    assert {g["name"] for g in whole["gates"]} and "matrix" in {a["name"] for a in whole["artifacts"]}
    before, after = (
        json.loads(factory.neo("saw", f"{run}@9..10", "--json", **extra).stdout) for run in ("main", "main_b")
    )
    assert before == after  # what lies before the branch is its parent's
    left_out = {row["doc_id"] for row in json.loads(factory.neo("saw", "main@13..14", "--json", **extra).stdout)}
    assert {
        row["doc_id"] for row in json.loads(factory.neo("saw", "main_b@13..13", "--json", **extra).stdout)
    } != left_out
    # Taken out of the recipe again, it is nobody's: gc offers it, and nothing counts it as built.
    (tmp_path / "branched.branches.yaml").unlink()
    assert {row["asset"] for row in json.loads(factory.neo("gc", "--json", "--grace", "0", **extra).stdout)} >= {
        "checkpoint/main_b",
        "pretraining/main_b",
        "run_plan/main_b",
    }
    assert factory.neo("verify", "pretraining/main_b", **extra).returncode == 2

    # Without a name of its own a branch takes the run's place: what the recipe calls main goes on from main's step 10.
    assert factory.neo("continue", "main@10", "steps=14", **extra).returncode == 0
    done = factory.run(
        "dagster",
        "asset",
        "materialize",
        "-m",
        "definitions",
        "--select",
        'key:"run_plan_main" or key:"pretraining_main"',
        **extra,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert factory.neo("verify", "main@14", **extra).returncode == 0
    steps = {row["step"] for row in json.loads(factory.neo("saw", "main@9..12", "--json", **extra).stdout)}
    assert steps == {9, 10, 11, 12}
