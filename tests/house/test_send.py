"""A store in a folder becomes one on object storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.disk import make_disk
from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import JobState
from neo_assets.core.place import store_root
from neo_assets.core.remote import remote_of
from neo_assets.core.store import Store
from tests.house.test_gc import artifact, checkpoint, in_state, training_job
from tests.servers import S3

URL = f"{S3.BUCKET}/sent"


def neo(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, NeoError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def store(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NEO_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    remote_of.cache_clear()
    return Store(tmp_path / "store")


def test_all_of_it_is_there_for_another_disk_and_the_folder_goes_on_as_its_disk(store: Store) -> None:
    pool = artifact(store, "train_pool")
    store.set_head("ci", "train_pool", "train_pool", pool.fingerprint)
    saved = checkpoint(store, "main", "a1" * 16, 10)
    code, printed = neo("send", URL)
    assert code == 0 and f"export NEO_STORE={URL} NEO_STORE_DISK={store.root}" in printed
    make_disk(store.root.parent / "other", URL)
    other = Store(store.root.parent / "other")
    assert other.head("ci", "train_pool").fingerprint == pool.fingerprint
    assert other.find("checkpoint/main", saved.name) is not None
    remote_of.cache_clear()
    here = Store(store_root())
    assert here.remote is not None and here.heads("ci") == {"train_pool": ("train_pool", pool.fingerprint)}
    assert neo("send", URL)[0] == 0  # nothing is left to send
    os.environ["NEO_STORE"] = URL
    assert "names a store on object storage already" in neo("send", URL)[1]


def test_a_store_of_its_own_is_not_taken_for_a_disk(store: Store) -> None:
    pool = artifact(store, "train_pool")
    store.set_head("ci", "train_pool", "train_pool", pool.fingerprint)
    with pytest.raises(NeoError, match=f"NEO_STORE={store.root} neo send {URL}"):
        make_disk(store.root, URL)


def test_nothing_is_sent_under_a_running_job(store: Store) -> None:
    in_state(training_job(store, artifact(store, "token_shards/fundamental")), JobState.RUNNING)
    code, printed = neo("send", URL)
    assert code == 2 and "wait for pretraining/main a1a1a1a1a1a1, or `neo pause` it" in printed
    assert not (store.root / "objects.json").exists()
