"""What was hashed while it was written is not read again; what changed since, or was not noted, is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core import manifest, records
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.store import MadeFrom, Outcome, Store, Workspace
from neo_assets.core.written import NOTES, PARTIAL, SCRATCH, Hashing, noted

TABLE = pa.table({"x": list(range(1000)), "text": ["文字"] * 1000})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / f"{PARTIAL}abc"
    made.mkdir()
    return made


def test_a_commit_reads_no_file_that_was_hashed_while_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return digest_file(path)

    monkeypatch.setattr(manifest, "digest_file", counted)

    def work(out: Workspace) -> Outcome:
        out.write("sub/part-00000.parquet", TABLE)
        out.write_text("told.json", "{}")
        (out.path / "by_hand.bin").write_bytes(b"x")
        return Outcome(digest="d")

    store = Store(tmp_path)
    made, _ = store.build("a/b", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
    assert read == ["by_hand.bin", "told.json", "verdict.json"]  # texts are small: they are read
    assert {name: entry.digest for name, entry in made.manifest.files.items()} == {
        name: digest_file(made.path / name)
        for name in ("sub/part-00000.parquet", "told.json", "by_hand.bin", "verdict.json")
    }
    assert store.verify(made) == [] and not (made.path / SCRATCH).exists()


@pytest.mark.parametrize("change", ["byte", "replaced", "longer", "gone"])
def test_a_note_counts_for_the_file_that_was_written_alone(folder: Path, change: str) -> None:
    file = records.write_table(TABLE, folder / "part.parquet")
    assert noted(folder) == {"part.parquet": digest_file(file)}
    data = file.read_bytes()
    if change == "gone":
        file.unlink()
    elif change == "replaced":
        other = folder / "other"
        other.write_bytes(data[::-1])
        other.replace(file)
    else:
        with file.open("r+b") as stream:
            stream.seek(0, os.SEEK_END if change == "longer" else os.SEEK_SET)
            stream.write(b"?")
    assert noted(folder) == {}
    told = manifest.file_entries(folder)
    assert set(told) == (set() if change == "gone" else {"part.parquet"})
    assert all(entry.digest == digest_file(folder / name) for name, entry in told.items())


def test_bytes_that_a_disk_lost_after_they_were_hashed_are_found_by_who_verifies(tmp_path: Path) -> None:
    def work(out: Workspace) -> Outcome:
        file = out.write("part-00000.parquet", TABLE)
        facts = file.stat()
        with file.open("r+b") as stream:  # a block that never reached the disk: nothing says that the file was written
            stream.seek(100)
            stream.write(b"\0" * 8)
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        return Outcome(digest="d")

    store = Store(tmp_path)
    made, _ = store.build("a/b", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)
    assert len(store.verify(made)) == 1 and "part-00000.parquet does not hash" in store.verify(made)[0]


def test_torn_lines_and_other_writers_cost_a_reading_and_nothing_else(folder: Path) -> None:
    records.write_table(TABLE, folder / "a.parquet")
    (notes,) = (folder / SCRATCH).glob(f"{NOTES}-*")
    whole = notes.read_bytes()
    records.write_table(TABLE, folder / "b.parquet")
    notes.write_bytes(whole + b'["b.par' + json.dumps(["x", 1, 2, 3, "d"]).encode() + b"\n")
    assert set(noted(folder)) == {"a.parquet"}
    assert set(manifest.file_entries(folder)) == {"a.parquet", "b.parquet"}
    other = (
        folder / SCRATCH / f"{NOTES}-another-machine.jsonl"
    )  # what it wrote last, counts; what is not so any more, not
    other.write_bytes(whole.replace(b'"a.parquet", ', b'"a.parquet", 1'))
    assert noted(folder) == {"a.parquet": digest_file(folder / "a.parquet")}


def test_outside_of_a_folder_that_is_made_nothing_is_noted(tmp_path: Path, folder: Path) -> None:
    records.write_table(TABLE, tmp_path / "x.parquet")
    records.write_table(TABLE, folder / SCRATCH / "scratch.parquet")
    assert not (tmp_path / SCRATCH).exists() and noted(folder) == {}


def test_a_digest_is_of_all_that_was_written(tmp_path: Path) -> None:
    with Hashing(tmp_path / "x") as stream:
        stream.write(b"a" * 10)
        stream.write(memoryview(b"bc"))
    assert stream.digest() == digest_file(tmp_path / "x") and (tmp_path / "x").stat().st_size == 12
