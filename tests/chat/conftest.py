"""One small model for the tests of who talks with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neo_assets.chat.speaker import Speaker
from tests.align.conversations import Words
from tests.chat.models import save_talker, speaker


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    return Words.made(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, words: Words) -> Path:
    return save_talker(tmp_path_factory.mktemp("model"), words)


@pytest.fixture(scope="session")
def talking(folder: Path) -> Speaker:
    return speaker(folder)
