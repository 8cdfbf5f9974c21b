"""What is remembered of a module's text is what its syntax tree says."""

from __future__ import annotations

from pathlib import Path

import pytest

from neo_assets.core import remembered, syntax
from neo_assets.core.code import all_modules, module_file
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.syntax import read_text, remembered_text


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, looked at by a process that remembers nothing yet."""
    monkeypatch.setenv("NEO_STORE", str(tmp_path))
    monkeypatch.setattr(remembered, "CODE_MEMORY", tmp_path / "beside" / "texts.jsonl")
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_known", {})
    monkeypatch.setattr(remembered, "_read_to", {})
    remembered._beside.cache_clear()


def test_another_process_is_told_what_the_trees_of_all_modules_say(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [file.read_bytes() for name in all_modules() if (file := module_file(name, ROOT))]
    said = [read_text(source, "neo_assets.core") for source in sources]
    assert [remembered_text(source, "neo_assets.core") for source in sources] == said
    forget(monkeypatch)
    monkeypatch.setattr(syntax, "read_text", lambda *_: pytest.fail("a tree was read once more"))
    assert [remembered_text(source, "neo_assets.core") for source in sources] == said


def test_a_changed_text_another_package_and_another_method_are_read_anew(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = b"from . import records\nLIMIT = 1\n"
    one = remembered_text(source, "neo_assets.core")
    assert remembered_text(source.replace(b"1", b"2"), "neo_assets.core").digest != one.digest
    assert remembered_text(source, "neo_assets.clean").named != one.named
    monkeypatch.setattr(syntax, "_method", lambda: "another")
    read = []
    monkeypatch.setattr(syntax, "read_text", lambda *asked: read.append(asked) or one)
    remembered_text(source, "neo_assets.core")
    assert read == [(source, "neo_assets.core")]


def test_a_store_that_cannot_be_written_to_costs_time_and_nothing_else(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_STORE", str(store / "not there"))
    assert remembered_text(b"import numpy\n", "neo_assets").named == ("numpy",)
