"""Recipes that share a store and call their runs alike keep to their own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core import records
from neo_assets.core.errors import MissingUpstream
from neo_assets.core.jobs import JobFolder
from neo_assets.core.recipe import load
from neo_assets.core.store import MadeFrom, Outcome, Store
from neo_assets.house.heads import scores
from neo_assets.runs.asked import asked_runs, askers, not_anothers, note_asked
from neo_assets.runs.found_runs import FoundRun, find_run
from tests.training.runs import small_job, write_shards

MINE, THEIRS, NOBODYS = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NEO_STORE", str(tmp_path))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    return Store(tmp_path)


def job(store: Store, fingerprint: str, age_s: float) -> JobFolder:
    """A job of a run called `main`, asked for some time ago."""
    spec = small_job(store.root, write_shards(store.root / "shards"), "main").model_copy(
        update={"work_fingerprint": fingerprint, "title": "pretraining/main"}
    )
    folder = JobFolder(store.root / "jobs" / fingerprint)
    folder.write_spec(spec)
    folder.log_file.write_text(f"log of {fingerprint[0]}\n")
    then = time.time() - age_s
    os.utime(folder.path / "spec.json", (then, then))
    return folder


def neo(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    return done.output + (str(done.exception) if done.exception else "")


def test_a_run_of_another_recipe_is_never_meant_however_new_it_is(store: Store) -> None:
    job(store, MINE, 100)
    theirs = job(store, THEIRS, 1)
    note_asked(store, "ci", "main", MINE)
    note_asked(store, "somebody elses", "main", THEIRS)
    assert neo("logs", "main") == "log of a\n"
    assert find_run(store, load("ci"), "main").spec.work_fingerprint == MINE
    for command in ("pause", "cancel"):
        assert MINE[:12] in neo(command, "main") and THEIRS[:12] not in neo(command, "main")
    told = json.loads(neo("cancel", "main", "--json"))
    assert told == [{"job": MINE, "what": "pretraining/main", "state": "cancelled", "attempts": 0}]
    assert not any((theirs.path / mark).exists() for mark in ("paused", "cancelled"))
    told = {row["job"]: row for row in json.loads(neo("jobs", "--all", "--json"))}
    assert [told[f[:12]]["recipe"] for f in (MINE, THEIRS)] == ["ci", "somebody elses"]
    assert neo("logs", THEIRS[:12]) == "log of b\n"  # by its fingerprint, anybody's


def test_a_recipe_that_has_started_nothing_has_no_job(store: Store) -> None:
    job(store, THEIRS, 1)
    note_asked(store, "somebody elses", "main", THEIRS)
    for command in ("logs", "watch", "pause", "cancel", "resume"):
        assert "recipe 'ci' has not started run 'main'" in neo(command, "main")
    with pytest.raises(MissingUpstream, match="has not been started"):
        find_run(store, load("ci"), "main")


def test_a_job_that_nobody_has_a_note_of_is_found(store: Store) -> None:
    job(store, NOBODYS, 1)
    assert neo("logs", "main") == "log of c\n"


def test_the_job_asked_for_last_is_meant_even_where_an_older_one_is_younger(store: Store) -> None:
    job(store, MINE, 1)
    job(store, THEIRS, 100)
    for fingerprint in (THEIRS, MINE, THEIRS):
        note_asked(store, "ci", "main", fingerprint)
    assert asked_runs(store, "ci", "main") == [MINE, THEIRS]
    assert neo("logs", "main") == "log of b\n"


def test_a_run_that_two_recipes_asked_for_is_of_both(store: Store) -> None:
    for recipe in ("ci", "somebody elses"):
        note_asked(store, recipe, "main", MINE)
    assert askers(store)[MINE[:8]] == ["ci", "somebody elses"]
    assert not_anothers(store, "ci", "main")(MINE[:8]) and not_anothers(store, "somebody elses", "main")(MINE[:8])


def test_a_job_that_is_gone_is_not_called_never_started(store: Store) -> None:
    note_asked(store, "ci", "main", MINE)
    assert "the job of run 'main' is not in the store any more" in neo("watch", "main")
    assert "what it made" not in neo("watch", "main")


def test_a_newer_job_that_nobody_noted_does_not_stand_before_the_recipes_own(store: Store) -> None:
    job(store, MINE, 100)
    job(store, NOBODYS, 1)
    note_asked(store, "ci", "main", MINE)
    assert neo("logs", "main") == "log of a\n"
    assert find_run(store, load("ci"), "main").spec.work_fingerprint == MINE


def test_in_a_store_without_notes_the_newest_job_is_meant_though_an_older_one_is_built(store: Store) -> None:
    job(store, MINE, 100)
    job(store, NOBODYS, 1)
    store.set_head("ci", "pretraining/main", "pretraining/main", MINE)
    assert neo("logs", "main") == "log of c\n"


def score(store: Store, run: str, value: float) -> Path:
    """A score of step 10 of a run called `main`."""
    name = f"0000010-{run[:8]}"
    row = {"run": "main", "step": 10, "tokens": 1, "checkpoint": name, "task": "t", "metric": "acc", "value": value}
    row |= {"main": True, "n": 4, "shots": 0, "identity": "i", "lang": "en", "chance": 0.25, "higher_is_better": True}
    made_from = MadeFrom(config={"attempt": 1, "checkpoint": name}, code={}, libraries={}, inputs={})
    return store.build("eval_scores/main", made_from, lambda out: Outcome(digest=name, tables={"scores": [row]}))[
        0
    ].path


def test_scores_and_what_is_verified_are_the_recipes_own(store: Store) -> None:
    mine, theirs = score(store, MINE, 0.5), score(store, THEIRS, 0.9)
    note_asked(store, "ci", "main", MINE)
    note_asked(store, "somebody elses", "main", THEIRS)
    assert [row["value"] for row in json.loads(neo("scores", "--json"))] == [0.5]
    assert [folder for _, folder in scores(store, load("ci"))] == [mine] != [theirs]
    note_asked(store, "somebody elses", "main", MINE)
    assert [row["value"] for row in json.loads(neo("scores", "--json"))] == [0.5]  # asked for by both


def test_a_run_of_which_only_others_have_scores_is_told(store: Store) -> None:
    score(store, THEIRS, 0.9)
    note_asked(store, "somebody elses", "main", THEIRS)
    assert "no score of a run 'main' of recipe 'ci'" in neo("scores", "main")


def test_a_document_may_be_in_a_runs_text_without_a_step_that_came_to_it(tmp_path: Path) -> None:
    records.write_table(pa.table({"doc_id": ["a", "b"], "tokens": [1, 2]}), tmp_path / "shards" / "index.parquet")
    spec: Any = SimpleNamespace(inputs={"token_shards": "shards"})
    run = FoundRun(spec, cast("Any", None), Store(tmp_path))
    assert run.holds(["x", "b"]) and not run.holds(["x"])
