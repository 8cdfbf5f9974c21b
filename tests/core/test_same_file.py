"""Text that a step leaves as it is exists once, whatever artifacts hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neo_assets.core import manifest, records, same_file
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.steps import Decision, run_step
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from tests.corpora import document, left_by_a_step


def decide(documents: pa.Table, shard: Path) -> Decision:
    """Drops one document, of the second file; says the same of the clusters as before."""
    decision = Decision.keep(documents.num_rows)
    decision.dropped = np.array(documents["text"]) == "drop me"
    decision.rule[decision.dropped] = "asked"
    decision.columns["cluster_id"] = documents["cluster_id"].combine_chunks()
    return decision


def stepped(folder: Path) -> tuple[Store, Artifact, Artifact]:
    rows = [document(f"text {i}", "en", f"p{i}") for i in range(20)]
    rows[-1]["text"] = "drop me"
    before = left_by_a_step(folder, rows, shards=2)
    store = Store(folder)

    def work(out: Workspace) -> Outcome:
        return run_step("step/en", before.files(records.PART), decide, out, expected=20)

    made, _ = store.build("step/en", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
    return store, before, made


def test_a_file_that_a_step_leaves_as_it_is_is_not_written_again(tmp_path: Path) -> None:
    store, before, made = stepped(tmp_path)
    same = [a.samefile(b) for a, b in zip(before.files(records.PART), made.files(records.PART), strict=True)]
    assert sorted(same) == [False, True] and made.manifest.rows_kept == 19
    assert all(check.passed for check in made.verdict) and store.verify(made) == []
    assert len(made.files("verdicts/")) == 2


def test_removing_one_leaves_the_other(tmp_path: Path) -> None:
    store, before, made = stepped(tmp_path)
    store.remove(before.path)
    assert store.verify(made) == [] and len(made.documents()) == 19


def test_a_byte_that_is_changed_is_found_in_both(tmp_path: Path) -> None:
    store, before, made = stepped(tmp_path)
    (shared,) = [p for p in made.files(records.PART) if p.stat().st_nlink == 2]
    data = bytearray(shared.read_bytes())
    data[50] ^= 1
    with shared.open("r+b") as stream:
        stream.write(data)
    assert len(store.verify(made)) == 1 and len(store.verify(before)) == 1


def test_the_commit_hashes_no_file_that_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return digest_file(path)

    monkeypatch.setattr(manifest, "digest_file", counted)
    stepped(tmp_path)
    assert not [name for name in read if name.startswith(records.PART)]


def test_where_there_are_no_second_names_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(same_file.os, "link", refused)
    store, _, made = stepped(tmp_path)
    assert store.verify(made) == [] and all(p.stat().st_nlink == 1 for p in made.files(records.PART))


def test_a_file_of_nothing_finished_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    same_file.take_over(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" and (tmp_path / "b").stat().st_nlink == 1
