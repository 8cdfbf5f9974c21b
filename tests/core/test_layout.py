"""Documents by ranges of ids: the same files whatever they came from, each input read once."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core import layout, records
from neo_assets.core.artifact import Workspace
from neo_assets.core.fingerprint import digest_bytes, digest_file
from neo_assets.core.records import DOCUMENT
from neo_assets.core.shuffle import gather, scatter
from neo_assets.core.steps import amounts, totals, write_part

N = 600


def corpus() -> list[dict[str, object]]:
    generator = random.Random(3)
    rows = []
    for i in range(N):
        name = digest_bytes(f"{i}".encode())
        text = "".join(generator.choice("abc 文字") for _ in range(generator.randrange(0, 90)))
        rows.append(dict.fromkeys(DOCUMENT.names, "") | {"doc_id": name, "text": text, "lang": "en", "lang_score": 1.0})
    return rows


def inputs(folder: Path, files: int) -> list[Path]:
    rows = corpus()
    random.Random(files).shuffle(rows)
    out = []
    for i in range(files):
        mine = sorted(rows[i::files], key=lambda row: str(row["doc_id"]))
        out.append(folder / f"in-{i:03d}.parquet")
        write_part(pa.Table.from_pylist(mine, schema=DOCUMENT), out[-1])
    return out


def laid_out(folder: Path, files: int) -> dict[str, str]:
    layout.lay_out(inputs(folder / "in", files), Workspace(folder / "out"))
    return {path.name: digest_file(path) for path in sorted((folder / "out").glob("*.parquet"))}


@pytest.mark.parametrize("group", [1, 3000, 1 << 40])
def test_what_the_documents_came_in_and_how_they_were_grouped_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(layout, "TARGET_BYTES", 5000)
    monkeypatch.setattr(layout, "MOST_GROUPS", 1 << 30)
    wanted = laid_out(tmp_path / "one", 1)
    assert len(wanted) == 16
    monkeypatch.setattr(layout, "GROUP_BYTES", group)
    assert laid_out(tmp_path / "many", 7) == wanted
    rows = [
        row for p in sorted((tmp_path / "many" / "out").glob("*.parquet")) for row in records.read_table(p).to_pylist()
    ]
    assert [row["doc_id"] for row in rows] == sorted(str(row["doc_id"]) for row in corpus())
    assert all(row[records.TEXT_BYTES] == len(row["text"].encode()) for row in rows)


def test_each_file_is_read_once_and_what_lies_between_is_opened_once_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "TARGET_BYTES", 5000)
    monkeypatch.setattr(layout, "GROUP_BYTES", 8000)
    files = inputs(tmp_path / "in", 12)
    read: Counter[Path] = Counter()
    table, gathered = records.read_table, layout.gather

    def counted(path: Path, *more: object, **named: object) -> pa.Table:
        read[path] += 1
        return table(path, *more, **named)  # type: ignore[arg-type]

    def opened(between: list[Path], *where: int) -> list[pa.Table]:
        read.update(between)
        return gathered(between, *where)

    monkeypatch.setattr(records, "read_table", counted)
    monkeypatch.setattr(layout, "gather", opened)
    layout.lay_out(files, Workspace(tmp_path / "out"))
    assert all(read.pop(path) == 1 for path in files)
    assert 2 <= len(read) < 12 and set(read.values()) == {16}


def test_a_layout_that_was_cut_off_goes_on_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "TARGET_BYTES", 5000)
    monkeypatch.setattr(layout, "GROUP_BYTES", 8000)
    wanted = laid_out(tmp_path / "whole", 5)
    written: list[Path] = []
    write = layout.write_part

    def failing(made: pa.Table, path: Path) -> None:
        written.append(path)
        if len(written) == 6:
            raise KeyboardInterrupt
        write(made, path)

    monkeypatch.setattr(layout, "write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        laid_out(tmp_path / "cut", 5)
    assert laid_out(tmp_path / "cut", 5) == wanted and len(written) == 6 + 16 - 5


def test_there_are_few_groups_however_large_the_corpus(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}" for i in range(100_000)]
    groups = layout.grouped(files, [200_000_000] * len(files))  # 20 TB
    assert len(groups) <= layout.MOST_GROUPS and [p for group in groups for p in group] == files
    assert layout.grouped(files[:3], [1, 2, 3]) == [files[:3]] and layout.grouped([], []) == []


def test_pieces_come_back_as_they_were_and_a_torn_file_is_refused(tmp_path: Path) -> None:
    tables = [pa.table({"x": list(range(i))}) for i in (3, 0, 70_000)]
    scatter([tables, tables[::-1]], 3, tmp_path / "a")
    assert [t.num_rows for t in gather([tmp_path / "a"], 0, 3)] == [3, 70_000]
    assert gather([tmp_path / "a"], 1, 3) == []
    assert gather([tmp_path / "a", tmp_path / "a"], 2, 3)[1].equals(tables[0])
    torn = tmp_path / "torn"
    torn.write_bytes((tmp_path / "a").read_bytes()[:-9])
    with pytest.raises((pa.ArrowInvalid, EOFError, OSError, ValueError, MemoryError)):
        gather([torn], 0, 3)


def test_amounts_and_totals_are_read_from_footers(tmp_path: Path) -> None:
    files = inputs(tmp_path, 3)
    found = amounts(files)["en", ""]
    texts = [str(row["text"]) for row in corpus()]
    assert found == (N, sum(map(len, texts)), sum(len(t.encode()) for t in texts))
    assert totals(files, []).text_bytes == found.bytes
    old = tmp_path / "old.parquet"  # as files were before their footers told
    records.write_table(records.read_table(files[0], DOCUMENT).replace_schema_metadata(None), old)
    assert amounts([old]) == amounts([files[0]])
    assert records.text_lengths(old).tolist() == records.text_lengths(files[0]).tolist()
