"""A withdrawal, from the request to a model that never read it: in a store of its own, a copy of the factory's."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.tombstones import Target
from neo_assets.runs.found_runs import find_run
from neo_assets.takedown.reached import reached
from tests.factory.conftest import Factory
from training.certificate import read_certificate
from training.data.order import IGNORED

STREAM = ["withdrawn", "token_shards_fundamental", "token_shards_decay", "run_plan_main", "pretraining_main"]


@pytest.fixture(scope="module")
def own(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Factory, dict[str, str]]]:
    """A factory over a copy of the store, and the environment of a recipe with a file of branches of its own."""
    folder = tmp_path_factory.mktemp("takedown")
    shutil.copytree(factory.folder / "store", folder / "store", symlinks=True)
    shutil.copytree(factory.folder / "site", folder / "site")
    mine = Factory(folder)
    environment = mine.another_recipe(folder, "mine", "name: mine\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**mine.environment, **environment}.items():
            if name.startswith(("NEO_", "DAGSTER_")):
                patch.setenv(name, value)
        yield mine, environment


def made(own: tuple[Factory, dict[str, str]], selected: list[str]) -> None:
    factory, environment = own
    select = " or ".join(f'key:"{name}"' for name in selected)
    done = factory.run("dagster", "asset", "materialize", "-m", "definitions", "--select", select, **environment)
    assert done.returncode == 0, done.stderr[-4000:]


def outcome(store: Store) -> dict[str, object]:
    run = find_run(store, load(), "main")
    told = read_certificate(run.checkpoint(None)[1])
    return told.outcome() | {"first step": told.first_step, "stream": told.stream}


def test_from_the_request_to_a_model_that_never_read_it(own: tuple[Factory, dict[str, str]], tmp_path: Path) -> None:
    factory, environment = own
    recipe, store = load(), Store(factory.folder / "store")
    for name, (key, fingerprint) in store.heads("ci").items():
        store.set_head("mine", name, key, fingerprint)
    before = find_run(store, recipe, "main")
    first = {}
    for row in before.ledger().saw(1, 20).to_pylist():
        first.setdefault(row["doc_id"], row["step"])
    pool = {
        row["doc_id"]: row["url"] for row in store.head("mine", "train_pool").documents(["doc_id", "url"]).to_pylist()
    }
    late = [doc_id for doc_id, step in first.items() if step > 10 and "#" not in pool[doc_id]]
    told = {doc_id: reached(store, recipe, Target.of(pool[doc_id])) for doc_id in late[:5]}
    doc_id, found = next((d, f) for d, f in told.items() if f.pool == [d] and not f.copies)
    assert found.runs[0].again_from == 10 and found.tombstones == []

    # Asked first, recorded then; nothing changes before the build is made again.
    asked = factory.neo("takedown", pool[doc_id], **environment)
    assert "Nothing was changed" in asked.stdout
    assert "is no reason" in factory.neo("takedown", pool[doc_id], "--because", "whim", **environment).stderr
    assert (
        "is no day" in factory.neo("takedown", "a.org", "--because", "opt-out", "--received", "x", **environment).stderr
    )
    wrong = factory.neo("takedown", "domain:wrong.example", "--because", "opt-out", **environment)
    assert wrong.returncode and "nothing was recorded" in wrong.stderr
    for say in (("--scope", "crawl"), ("--reference", "T")):
        assert "say --because" in factory.neo("takedown", pool[doc_id], *say, **environment).stderr
    late_day = factory.neo("takedown", "a.org", "--because", "opt-out", "--received", "2999-01-01", **environment)
    assert "yet to come" in late_day.stderr
    anyway = factory.neo("takedown", "domain:wrong.example", "--because", "opt-out", "--anyway", **environment)
    assert "tombstone 1" in anyway.stdout and "0 crawled documents" in anyway.stdout
    assert "supersedes 1" in factory.neo("takedown", "--revoke", "1", **environment).stdout
    assert "not in force" in factory.neo("takedown", "--revoke", "1", **environment).stderr
    recorded = factory.neo("takedown", pool[doc_id], "--because", "opt-out", "--reference", "T-7", **environment)
    assert "tombstone 3" in recorded.stdout, recorded.stderr
    assert "1 crawled document, 1 document of the corpus" in recorded.stdout
    twice = factory.neo("takedown", pool[doc_id], "--because", "opt-out", **environment)
    assert "tombstone 3 says so already" in twice.stderr
    rows = [json.loads(line) for line in factory.neo("takedown", "--list", "--json", **environment).stdout.splitlines()]
    assert [row["status"] for row in rows] == ["in force", "revoked", "in force"] and rows[2]["reference"] == "T-7"

    # A trace does not show it from that moment on.
    text = next(
        row["text"]
        for row in store.head("mine", "train_pool").documents(["doc_id", "text"]).to_pylist()
        if row["doc_id"] == doc_id
    )
    traced = json.loads(factory.neo("trace", text, "--all", "--json", **environment).stdout)
    assert doc_id not in {d["doc_id"] for told in traced["told"] for d in told["documents"]}
    assert (
        factory.neo("release", str(tmp_path / "none"), "--unsigned", **environment).stderr.count(
            "tombstones were recorded"
        )
        == 1
    )

    assert "tombstones were recorded or revoked" in factory.neo("site", str(tmp_path / "pages"), **environment).stderr

    planned = factory.neo("takedown", "--plan", **environment)
    assert "goes on from step 10" in planned.stdout, planned.stderr
    branches = yaml.safe_load((factory.folder / "mine.branches.yaml").read_text())
    assert (
        branches["runs"]["main"]["parent"]["step"] == 10
        and "tombstone 3" in branches["runs"]["main"]["parent"]["because"]
    )
    assert set(branches["runs"]) == {"main"}  # the decay phase began with main's weights: it begins anew by itself

    made(own, STREAM)
    branch = outcome(store)
    assert branch["first step"] == 10 and branch["stream"] != read_certificate(before.checkpoint(20)[1]).stream
    run = find_run(store, load(), "main")
    assert run.ledger().when([doc_id]).num_rows == 0 and not run.holds([doc_id])
    assert "read by no step" in factory.neo("verify", "main@last", **environment).stdout
    # Steps from before it went on from itself are its own, though no run of the recipe has them now.
    early = next(d for d in before.ledger().saw(1, 5)["doc_id"].to_pylist() if d in pool)
    steps = {row["step"] for row in json.loads(factory.neo("when", early, "--json", **environment).stdout)}
    assert steps >= set(before.ledger().when([early], 10)["step"].to_pylist()) and min(steps) <= 5
    again = reached(store, load(), Target.of(pool[doc_id]))
    # The run as it was before still lies in the store, and had it.
    was = next(one for one in again.earlier if before.config.run_fingerprint.startswith(one.fingerprint))
    had = next(run for run in told[doc_id].runs if run.run == "main")
    assert (was.run, was.first, was.checkpoints, was.unknown) == ("main", had.first, had.checkpoints, False)
    assert again.tokens == dict.fromkeys(again.tokens, 0) and again.runs[0].first is None and again.tombstones == [3]
    assert "no run has read" in factory.neo("takedown", "--plan", **environment).stdout

    old = before.config.run_fingerprint
    differs = json.loads(factory.neo("diff", f"main@{old[:12]}", "main", "--json", **environment).stdout)
    assert differs["began"] == ["token_shards/fundamental"] and differs["documents"]["examples_a"] == [pool[doc_id]]
    assert [row["rule"] for row in differs["documents"]["why_not_b"]] == ["withdrawn"]
    assert "Nothing is different" in factory.neo("diff", "main", "main", **environment).stdout

    assert "Withdrawn: it keeps its place" in factory.neo("fate", pool[doc_id], **environment).stdout
    last = factory.folder / "store" / "tombstones" / "000003.json"
    kept = last.read_bytes()
    for change in (last.unlink, lambda: last.write_bytes(kept.replace(b"T-7", b"T-8"))):
        change()
        assert "were changed or taken away since" in factory.neo("takedown", "--list", **environment).stderr
        last.write_bytes(kept)

    # Every step that did not read it reads what it read, token by token.
    read = set(before.ledger().when([doc_id])["step"].to_pylist())
    for step in range(1, 21):
        (then, order), (now, now_order) = (
            (r.ledger().stream, r.ledger().order) for r in (before, replace(run, config=before.config))
        )
        samples = before.ledger().samples(step, step)
        assert np.array_equal(order.sequences_of(samples), now_order.sequences_of(samples))
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                then.examples(order.sequences_of(samples)), now.examples(order.sequences_of(samples)), strict=True
            )
        ]
        assert all(same) is (step not in read), step
    assert (now.examples(order.sequences_of(samples))[1] == IGNORED).any()

    # Trained from nothing on what is left, it is the same model, bit for bit.
    (factory.folder / "mine.branches.yaml").unlink()
    made(own, STREAM)
    whole = outcome(store)
    assert whole["first step"] == 0
    assert {name: whole[name] for name in branch if name != "first step"} == {
        name: branch[name] for name in branch if name != "first step"
    }
