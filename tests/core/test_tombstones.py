"""Tombstones are added, never changed, and honoured as they say."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core.errors import BadInput, DamagedArtifact
from neo_assets.core.tombstones import FOLDER, Target, in_force, read_tombstones, record, targets_in_force

PAGES = pa.table(
    {
        "doc_id": ["a" * 32, "b" * 32, "c" * 32, "d" * 32, "e" * 32],
        "url": [
            "https://example.org/a",
            "http://www.Example.org/a/b#x",
            "http://example.org.evil/a",
            "notexample.org/a",
            None,
        ],
        "source": ["s", "s", "t", "t", "s"],
        "licence": ["MPL-2.0", "CC", "CC", "MPL-2.0", None],
        "text_sha256": [hashlib.sha256(c.encode()).hexdigest() for c in "abcde"],
    }
)


@pytest.mark.parametrize(
    ("text", "kind", "rows"),
    [
        ("https://example.org/a", "url", [0]),
        ("url:example.org/a", "url", [0]),
        ("www.Example.org/a/b", "url", [1]),
        ("domain:EXAMPLE.org", "domain", [0, 1]),
        ("prefix:http://example.org/", "prefix", [0]),
        ("licence:MPL-2.0", "licence", [0, 3]),
        ("source:t", "source", [2, 3]),
        ("cccccccc", "doc_id", [2]),
        (f"text_sha256:{hashlib.sha256(b'd').hexdigest()}", "text_sha256", [3]),
    ],
)
def test_what_a_target_names(text: str, kind: str, rows: list[int]) -> None:
    target = Target.of(text)
    assert target.kind == kind
    assert [i for i, yes in enumerate(target.of_table(PAGES).to_pylist()) if yes] == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing to look for"),
        ("domain:", "names no domain"),
        ("domain:http://x.org/a", "no domain"),
        ("text_sha256:12", "no SHA-256"),
        ("doc_id:xyz", "no document's id"),
    ],
)
def test_what_names_nothing_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Target.of(text)


def test_they_are_added_in_force_by_scope_and_can_be_superseded(tmp_path: Path) -> None:
    first = record(tmp_path, Target.of("domain:a.org"), "opt-out", reference="ticket 7")
    record(tmp_path, Target.of("source:s"), "licence", scope=["release"])
    assert [t.number for t in in_force(read_tombstones(tmp_path), "corpus")] == [1]
    assert [t.number for t in in_force(read_tombstones(tmp_path), "release")] == [1, 2]
    record(tmp_path, first.target, "opt-out", revokes=1)
    assert targets_in_force(tmp_path, "corpus") == []
    assert [t.number for t in read_tombstones(tmp_path)] == [1, 2, 3]
    with pytest.raises(BadInput, match="not in force"):
        record(tmp_path, first.target, "opt-out", revokes=1)


def test_what_has_to_be_honoured_does_not_depend_on_when_it_was_recorded(tmp_path: Path) -> None:
    for root, texts in ((tmp_path / "a", "xy"), (tmp_path / "b", "yxx")):
        for text in texts:
            record(root, Target.of(f"source:{text}"), "opt-out")
    assert targets_in_force(tmp_path / "a", "corpus") == targets_in_force(tmp_path / "b", "corpus")


def test_many_writers_lose_none(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record(tmp_path, Target.of(f"source:s{n}"), "opt-out"), range(16)))
    told = read_tombstones(tmp_path)
    assert sorted(t.value for t in told) == sorted(f"s{n}" for n in range(16))
    assert [t.number for t in told] == list(range(1, 17))


@pytest.mark.parametrize(("number", "says"), [(1, "does not follow"), (2, "does not follow"), (3, "is no tombstone")])
def test_a_changed_one_is_noticed(tmp_path: Path, number: int, says: str) -> None:
    for n in range(3):
        record(tmp_path, Target.of(f"source:s{n}"), "opt-out")
    file = tmp_path / FOLDER / f"{number:06d}.json"
    told = json.loads(file.read_text()) | (
        {"reason": "none"} if number == 3 else {"number": 9} if number == 2 else {"value": "other"}
    )
    file.write_text(json.dumps(told))
    with pytest.raises(DamagedArtifact, match=says):
        read_tombstones(tmp_path)


def test_one_that_is_gone_is_noticed(tmp_path: Path) -> None:
    for n in range(3):
        record(tmp_path, Target.of(f"source:s{n}"), "opt-out")
    (tmp_path / FOLDER / "000002.json").unlink()
    with pytest.raises(DamagedArtifact, match="tombstone 2 is gone"):
        read_tombstones(tmp_path)
