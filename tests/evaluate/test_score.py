"""A score is asked for once, kept whatever dies, and never mixed with one of another task."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from neo_assets.core.errors import JobFailed
from neo_assets.core.recipe.evaluation import First
from neo_assets.core.store import Store
from neo_assets.evaluate.index import FILE, read_items, read_scores
from neo_assets.evaluate.score import sample_rows, score_rows
from tests.evaluate.scoring import Answering, scorer, subject, task, tasks_artifact

NAMES: list[str | First] = ["quiz", "test", First(task="quiz", first=4)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_what_is_there_is_not_asked_again(store: Store) -> None:
    jobs = Answering(store)
    mine = scorer(store, jobs, [tasks_artifact(store, task("quiz"), task("test"))], NAMES)
    first, made = mine.scored(subject("a"))
    assert sorted(made) == ["quiz", "quiz_4", "samples", "test"] and jobs.asked == ["quiz", "test", "quiz_4"]
    again, made = mine.scored(subject("a"))
    assert made == [] and len(jobs.jobs) == 1
    assert {n: a.fingerprint for n, a in again.items()} == {n: a.fingerprint for n, a in first.items()}
    rows = {r["task"]: r for r in score_rows(first, 1)}
    assert (rows["quiz"]["n"], rows["quiz_4"]["n"], rows["quiz"]["step"], rows["quiz"]["checkpoint"]) == (8, 4, 1, "a")


def test_each_score_is_told_as_soon_as_it_is_there(store: Store) -> None:
    told: list[str] = []
    mine = replace(
        scorer(store, Answering(store), [tasks_artifact(store, task("quiz"), task("test"))], ["quiz", "test"]),
        log=told.append,
    )
    mine.scored(subject("a"))
    assert told[:1] + told[2:] == [
        "scoring main a: quiz, test, samples",
        "  1/2 quiz: acc_norm 0.5",
        "  2/2 test: acc_norm 0.5",
    ]


def test_a_job_that_was_killed_loses_nothing_and_nothing_is_asked_twice(store: Store) -> None:
    artifacts = [tasks_artifact(store, task("quiz"), task("test"))]
    killed = Answering(store, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        scorer(store, killed, artifacts, NAMES).scored(subject("a"))
    assert killed.asked == ["quiz", "test"]
    after = Answering(store)
    _, made = scorer(store, after, artifacts, NAMES).scored(subject("a"))
    assert after.asked == ["quiz_4"] and sorted(made) == ["quiz", "quiz_4", "samples", "test"]


def test_a_broken_task_costs_its_own_score(store: Store) -> None:
    artifacts = [tasks_artifact(store, task("quiz"), task("test"))]
    with pytest.raises(JobFailed):
        scorer(store, Answering(store, broken={"test"}), artifacts, ["quiz", "test"]).scored(subject("a"))
    mended = Answering(store)
    scorer(store, mended, artifacts, ["quiz", "test"]).scored(subject("a"))
    assert mended.asked == ["test"]


def test_two_askers_at_once_make_one_job(store: Store) -> None:
    jobs = Answering(store)
    mine = scorer(store, jobs, [tasks_artifact(store, task("quiz"), task("test"))], NAMES)
    threads = [threading.Thread(target=mine.scored, args=(subject("a"),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobs.asked == ["quiz", "test", "quiz_4"] and len(jobs.jobs) == 1


def test_a_changed_task_asks_exactly_its_own_scores_and_the_old_ones_stay(store: Store) -> None:
    before = tasks_artifact(store, task("quiz"), task("test"))
    for name in ("a", "b"):
        scorer(store, Answering(store), [before], ["quiz", "test"]).scored(subject(name))
    jobs = Answering(store)
    after = scorer(
        store, jobs, [tasks_artifact(store, task("quiz", content="mended "), task("test"))], ["quiz", "test"]
    )
    for name in ("a", "b"):
        assert after.scored(subject(name))[1] == ["quiz"]
    assert jobs.asked == ["quiz", "quiz"]
    rows = [r for r in read_scores(store).to_pylist() if r["main"]]
    assert len({r["identity"] for r in rows if r["task"] == "quiz"}) == 2
    assert len(rows) == 6


def test_a_repeat_is_an_attempt_of_its_own(store: Store) -> None:
    jobs = Answering(store)
    mine = scorer(store, jobs, [tasks_artifact(store, task("quiz"))], ["quiz"])
    assert mine.attempts(subject("a")) == 0
    mine.scored(subject("a"))
    mine.scored(subject("a"), 2)
    assert mine.attempts(subject("a")) == 2 and jobs.asked == ["quiz", "quiz"]


def test_a_task_without_data_is_told_and_not_scored(store: Store) -> None:
    mine = scorer(store, Answering(store), [tasks_artifact(store, task("quiz"))], ["quiz", "cloze_en"])
    found, _ = mine.scored(subject("a"))
    assert set(found) == {"quiz", "samples"}
    assert [(a.name, a.message) for a in mine.absent()] == [
        ("cloze_en", "made of the recipe's held-out documents, which are not there yet: run the job 'factory'")
    ]
    held = replace(mine, task_artifacts=[*mine.task_artifacts, tasks_artifact(store, key="heldout_tasks")])
    assert [(a.name, a.message) for a in held.absent()] == [("cloze_en", "the held-out documents gave no such items")]


# ------------------------------------------------------------------ the index


def test_without_prompts_nothing_is_written_and_without_anything_to_ask_nothing_is_asked(store: Store) -> None:
    jobs = Answering(store)
    mine = scorer(store, jobs, [tasks_artifact(store, task("quiz"))], ["quiz"])
    silent = replace(mine, score=mine.score.model_copy(update={"samples": {}}))
    scores, made = silent.scored(subject("a"))
    assert made == ["quiz"] and sample_rows(subject("a"), scores) == [] and silent.attempts(subject("a")) == 1
    nothing = replace(silent, score=silent.score.model_copy(update={"tasks": {"absent": None}}))
    assert nothing.scored(subject("a")) == ({}, []) and nothing.attempts(subject("a")) == 0


def test_the_index_knows_new_scores_forgets_gone_ones_and_can_be_thrown_away(store: Store) -> None:
    mine = scorer(store, Answering(store), [tasks_artifact(store, task("quiz"))], ["quiz"])
    found, _ = mine.scored(subject("a"))
    first = read_scores(store)
    assert first.num_rows == 2  # the score, and where its continuations are
    mine.scored(subject("b", step=2))
    both = read_scores(store)
    assert sorted(set(both.column("checkpoint").to_pylist())) == ["a", "b"]
    (store.root / FILE).write_bytes(b"torn")
    assert read_scores(store).equals(both)
    (store.root / FILE).unlink()
    assert read_scores(store).equals(both)
    store.remove(found["quiz"].path)
    assert [r["checkpoint"] for r in read_scores(store).to_pylist() if r["task"] == "quiz"] == ["b"]


def test_items_are_read_by_id(store: Store) -> None:
    found, _ = scorer(store, Answering(store, {"a": 0.75}), [tasks_artifact(store, task("quiz"))], ["quiz"]).scored(
        subject("a")
    )
    samples = next(r["samples"] for r in read_scores(store).to_pylist() if r["task"] == "quiz")
    items = read_items(store, samples)
    assert sum(v for v, _ in items.values()) == 6 and items["quiz0"] == (1.0, 1)
    assert found["quiz"].fingerprint in samples
