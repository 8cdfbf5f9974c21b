"""A file's digest is remembered for as long as nobody can have written to it."""

import os
from pathlib import Path

import pytest

from neo_assets.core import remembered, syntax
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.remembered import digests_at_load, known_digest, remembered_digest, remembered_tree
from neo_assets.core.syntax import remembered_text


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(remembered, "SETTLED_NS", 0)
    monkeypatch.setattr(remembered, "CODE_MEMORY", tmp_path / ".neo" / "texts.jsonl")
    forget(monkeypatch)
    return tmp_path / "store"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin."""
    monkeypatch.setattr(remembered, "_known", {})
    monkeypatch.setattr(remembered, "_read_to", {})
    remembered._beside.cache_clear()


def test_another_process_need_not_read_the_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"some weights")
    first = remembered_digest(file)
    forget(monkeypatch)
    monkeypatch.setattr(remembered, "digest_file", lambda _: pytest.fail("it was read again"))
    assert remembered_digest(file) == first == digest_file(file)


def test_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"some weights")
    facts = file.stat()
    first = remembered_digest(file)
    file.write_bytes(b"same weights")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert known_digest(file) is None
    assert remembered_digest(file) != first


def test_what_was_just_written_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "SETTLED_NS", 60_000_000_000)
    file = tmp_path / "weights"
    file.write_bytes(b"some weights")
    assert remembered_digest(file) == digest_file(file)
    assert known_digest(file) is None


def test_a_torn_last_line_and_a_store_that_cannot_be_written_cost_only_time(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"some weights")
    remembered_digest(file)
    memory = store / remembered.MEMORY
    memory.write_bytes(memory.read_bytes()[:-3])
    forget(monkeypatch)
    assert known_digest(file) is None
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "nowhere"))
    assert remembered_digest(file) == digest_file(file)


def test_what_would_take_long_to_read_is_told_apart_by_size_and_time_until_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "AT_LOAD_BYTES", 10)
    file = tmp_path / "crawl"
    file.write_bytes(b"a long crawl")
    (at_load,) = digests_at_load([file])
    assert at_load.startswith("not read yet: 12 bytes")
    read = remembered_digest(file)
    assert digests_at_load([file]) == [read]


def test_a_folder_is_walked_and_not_read_until_something_below_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "a.html").write_text("one")

    def files() -> list[tuple[str, Path]]:
        return [(p.name, p) for p in folder.iterdir()]

    first = remembered_tree(folder, ["*"], files)
    with monkeypatch.context() as patch:
        patch.setattr(remembered, "digest_file", lambda _: pytest.fail("it was read again"))
        assert remembered_tree(folder, ["*"], files) == first
    (folder / "a.html").write_text("two")
    assert remembered_tree(folder, ["*"], files) != first


def test_what_modules_say_is_read_once_a_checkout_whatever_the_store(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    remembered_text(b"import os\n", "a")
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "other"))
    forget(monkeypatch)
    monkeypatch.setattr(syntax, "read_text", lambda *_: pytest.fail("it was read again"))
    assert remembered_text(b"import os\n", "a").named == ("os",)
    # A worker, whose code is a copy without that memory, finds it in the store.
    remembered.CODE_MEMORY.unlink()
    forget(monkeypatch)
    assert remembered_text(b"import os\n", "a").named == ("os",)


def test_a_copy_of_the_code_gets_no_memory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "ROOT", tmp_path)
    remembered_text(b"import sys\n", "a")
    assert not remembered.CODE_MEMORY.exists()
