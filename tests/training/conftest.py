"""A store and its local backend for the runs of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resources.compute.local import LocalCompute


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCompute]:
    """What it started is stopped at the end."""
    made = LocalCompute(tmp_path_factory.mktemp("store"))
    yield made
    for folder in (made.root / "jobs").glob("*"):
        made.stop(folder.name, None)
