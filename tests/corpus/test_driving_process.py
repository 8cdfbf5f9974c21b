"""The process that drives a stage holds no text: what it tells is added up from footers and lengths."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from neo_assets.core.recipe.data import Mixture
from neo_assets.core.store import Workspace
from neo_assets.corpus import matrix, mixture
from neo_assets.corpus.matrix import MatrixInput, assemble_matrix
from neo_assets.corpus.mixture import MixtureInput, mix
from tests.corpora import document, left_by_a_step, text


class Watched:
    """Notes which columns are read while no shard is at work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.read: list[str] = []
        self.working = False
        read = pq.ParquetFile.read

        def noted(file: pq.ParquetFile, columns: list[str] | None = None, **more: Any) -> Any:
            if not self.working:
                self.read += columns or file.schema_arrow.names
            return read(file, columns=columns, **more)

        monkeypatch.setattr(pq.ParquetFile, "read", noted)
        for module in modules:
            monkeypatch.setattr(module, "run_shards", self._while_working(module.run_shards))

    def _while_working(self, run: Callable[..., None]) -> Callable[..., None]:
        def inner(*what: Any, **how: Any) -> None:
            self.working = True
            run(*what, **how)
            self.working = False

        return inner


def test_mixture_and_matrix_read_no_text_in_the_process_that_drives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(2)
    rows = [document(text(generator, "en"), "en", f"p{i}") for i in range(60)]
    watched = Watched(monkeypatch, mixture, matrix)
    pool = left_by_a_step(tmp_path / "store", rows, shards=3, key="train_pool")
    for name in ("mixture", "matrix"):
        (tmp_path / name).mkdir()
    asked = Mixture.model_validate({"seed": 1, "rounds": {"en": 1.5}})
    mixed = mix(MixtureInput(phase="p", mixture=asked), {"train_pool": pool}, Workspace(tmp_path / "mixture"))
    whole = assemble_matrix(MatrixInput(languages=["en"]), {"clean_docs/en": pool}, Workspace(tmp_path / "matrix"))
    size = sum(len(str(row["text"]).encode()) for row in rows)
    assert whole.numbers["bytes"] == size == mixed.tables["asked against got"][0]["bytes there"]
    assert all(check.passed for check in (*mixed.checks, *whole.checks))
    assert "text" not in watched.read, "the driving process read texts"
    watched.working = False
    pool.documents(["text"])
    assert "text" in watched.read  # it would have been noted
