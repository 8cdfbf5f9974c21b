"""A benchmark reaches the store whole and checked, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe.evaluation import Choice
from neo_assets.core.store import Outcome, Workspace
from neo_assets.tasks.benchmark_items import benchmark_items_input, collect_benchmarks
from neo_assets.text.searched import SEARCHED
from tests.training.folders import identities
from training.tasks import read_absent, read_tasks

GOOD = {"question": "Which is a colour?", "choices": ["red", "loud"], "answer": 0}


def _choice(path: Path) -> Choice:
    return Choice(kind="choice", path=str(path), lang="en", licence="CC0-1.0")


def _collect(out: Path, **paths: Path) -> Outcome:
    config = benchmark_items_input({name: _choice(path) for name, path in paths.items()}, ["en", "zh"])
    return collect_benchmarks(config, {}, Workspace(out))


def _file(path: Path, *records: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_our_own_benchmarks_are_sound_and_no_position_is_favoured(lang: str, tmp_path: Path) -> None:
    path = ROOT / "neo_assets" / "tasks" / "items" / f"general_{lang}.jsonl"
    config = benchmark_items_input(
        {"general": Choice(kind="choice", path=path.relative_to(ROOT).as_posix(), lang=lang, licence="Apache-2.0")},
        ["en", "zh"],
    )
    outcome = collect_benchmarks(config, {}, Workspace(tmp_path))
    items = [json.loads(line) for line in (tmp_path / "general.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(items) == outcome.rows_in == outcome.rows_kept == 40
    assert Counter(i["answer"] for i in items) == {0: 10, 1: 10, 2: 10, 3: 10}
    task, _ = read_tasks([tmp_path])["general"]
    assert (task.chance, task.lang, task.licence, task.items) == (0.25, lang, "Apache-2.0", 40)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"question": "torn', "Invalid JSON"),
        ({"question": "no choices", "answer": 0}, "choices: Field required"),
        ({**GOOD, "choices": ["only"]}, "choices: List should have at least 2"),
        ({**GOOD, "answer": 2}, "answer is 2, but there are 2 choices"),
        ({**GOOD, "answer": "0"}, "answer: Input should be a valid integer"),
        ({**GOOD, "answer": -1}, "answer: Input should be greater"),
        ({**GOOD, "choices": ["red", "red"]}, "two choices are the same"),
        ({**GOOD, "question": ""}, "question: String should have at least 1"),
        (GOOD, "the same question as line 1"),
    ],
)
def test_a_bad_record_is_named_with_file_line_and_reason(tmp_path: Path, bad: object, reason: str) -> None:
    path = _file(tmp_path / "quiz.jsonl", GOOD, bad)
    with pytest.raises(BadInput, match=rf"quiz\.jsonl: line 2: {reason}"):
        _collect(tmp_path / "out", quiz=path)
    assert not (tmp_path / "out" / "quiz.jsonl").exists()


def test_every_bad_line_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"line 1: .*line 3: "):
        _collect(tmp_path / "out", quiz=_file(tmp_path / "quiz.jsonl", "{}", GOOD, "[]"))


def test_a_benchmark_without_data_says_where_they_belong_and_stops_nothing(tmp_path: Path) -> None:
    outcome = _collect(tmp_path, quiz=tmp_path / "nowhere.jsonl", other=_file(tmp_path / "other.jsonl", GOOD))
    assert list(read_tasks([tmp_path])) == ["other"]
    assert read_absent([tmp_path])["quiz"].message == f"data not here: put it at {tmp_path / 'nowhere.jsonl'}"
    assert outcome.numbers["without_data"] == 1


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b"{}\n\xe9\n")
    with pytest.raises(BadInput, match="line 2: not UTF-8"):
        _collect(tmp_path / "out", quiz=tmp_path / "latin.jsonl")


def test_a_file_that_changes_is_another_input_and_a_moved_one_is_not(tmp_path: Path) -> None:
    from neo_assets.core.recipe import identity

    def made_of(path: Path) -> object:
        return identity(benchmark_items_input({"quiz": _choice(path)}, ["en", "zh"]))

    first = made_of(_file(tmp_path / "a.jsonl", GOOD))
    assert made_of(_file(tmp_path / "b.jsonl", GOOD)) == first
    assert made_of(_file(tmp_path / "b.jsonl", {**GOOD, "answer": 1})) != first


def test_a_file_that_changes_after_the_recipe_was_loaded_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.jsonl", GOOD)
    config = benchmark_items_input({"quiz": _choice(path)}, ["en", "zh"])
    _file(path, {**GOOD, "answer": 1})
    with pytest.raises(BadInput, match="have changed since"):
        collect_benchmarks(config, {}, Workspace(tmp_path / "out"))


def test_one_changed_record_changes_one_tasks_identity_and_the_digest(tmp_path: Path) -> None:
    files = {"quiz": _file(tmp_path / "quiz.jsonl", GOOD), "test": _file(tmp_path / "test.jsonl", GOOD)}
    before = _collect(tmp_path / "a", **files)
    _file(files["test"], {**GOOD, "answer": 1})
    after = _collect(tmp_path / "b", **files)
    first, second = identities(tmp_path / "a"), identities(tmp_path / "b")
    assert [name for name in first if first[name] != second[name]] == ["test"]
    assert before.digest != after.digest
    # What training text must not hold is the question and, for a short one, its answer: both are looked for, so they
    # count there too.
    assert {n for n in before.parts if before.parts[n] != after.parts[n]} == {"test", SEARCHED}


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    for out in ("a", "b"):
        _collect(tmp_path / out, quiz=_file(tmp_path / "quiz.jsonl", GOOD))
    with pytest.raises(BadInput, match="two tasks are called 'quiz'"):
        read_tasks([tmp_path / "a", tmp_path / "b"])
