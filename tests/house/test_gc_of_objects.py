"""What `neo gc` leaves and takes of a store on object storage, whose other disks it cannot look into."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core.disk import make_disk
from neo_assets.core.errors import MissingUpstream
from neo_assets.core.objects import Objects
from neo_assets.core.place import _disk
from neo_assets.core.reach import bring_inputs
from neo_assets.core.store import Outcome, Store
from tests.house.test_gc import artifact, checkpoint, shown, training_job
from tests.servers import S3

URL = f"{S3.BUCKET}/gc"


@pytest.fixture
def disks(s3: S3, tmp_path: Path) -> tuple[Store, Store]:
    for name in ("one", "other"):
        make_disk(tmp_path / name, URL, 1.0)
    return Store(tmp_path / "one"), Store(tmp_path / "other")


def test_what_a_job_of_another_disk_reads_is_kept_until_what_it_makes_is_there(disks: tuple[Store, Store]) -> None:
    one, other = disks
    shards, nobodys = artifact(one, "token_shards/fundamental"), artifact(one, "matrix")
    found = other.require("token_shards/fundamental", shards.fingerprint)
    job = training_job(other, found)
    bring_inputs(other.root, job)
    assert (found.folder / "verdict.json").is_file()  # a job finds all that it reads
    assert {f"matrix/{nobodys.fingerprint}"} == {n for n in shown(one) if n.startswith(("matrix", "token_shards"))}
    start = other.root / "pretraining/main" / job.fingerprint
    checkpoint(other, "main", job.fingerprint, 10).rename(other.root / "made")
    start.parent.mkdir(parents=True)
    (other.root / "made").rename(start)
    other.publish("pretraining/main", job.fingerprint)
    assert f"token_shards/fundamental/{shards.fingerprint}" in shown(one)


def test_a_disk_that_knows_nothing_yet_collects_nothing_that_is_needed(disks: tuple[Store, Store]) -> None:
    one, other = disks
    crawl = artifact(one, "raw_crawl/x")
    pool = artifact(one, "train_pool", artifact(one, "matrix", crawl))
    one.set_head("mine", "train_pool", "train_pool", pool.fingerprint)
    assert [name for name in shown(other) if not name.startswith("locks")] == []


def test_gc_takes_a_commit_back_everywhere_and_sweeps_what_it_alone_had(
    disks: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = disks

    def write(out: object) -> Outcome:
        out.write_text("told.txt", "told")  # type: ignore[attr-defined]
        return Outcome(digest="d")

    from tests.core.test_remote import made_from

    gone = one.build("matrix", made_from(x=1), write)[0]
    kept = one.build("matrix", made_from(x=2), write)[0]
    one.set_head("ci", "matrix", "matrix", kept.fingerprint)
    _disk.cache_clear()
    monkeypatch.setenv("NEO_STORE", URL)
    monkeypatch.setenv("NEO_STORE_DISK", str(one.root))
    monkeypatch.setenv("NEO_STORE_DISK_GB", "1")
    monkeypatch.setenv("NEO_RECIPE", "ci")
    done = CliRunner().invoke(app, ["gc", "--grace", "0"])
    assert done.exit_code == 0 and gone.fingerprint[:24] in done.output and kept.fingerprint[:24] not in done.output
    assert other.find("matrix", gone.fingerprint) is not None
    done = CliRunner().invoke(app, ["gc", "--grace", "0", "--remove"])
    assert done.exit_code == 0, done.output
    left = {o.name.split("/")[2] for o in Objects(URL).list("artifacts/")}
    assert kept.fingerprint in left
    again, reused = other.build("matrix", made_from(x=1), write)  # its disk had heard of it, and has none of its files
    assert not reused and again.file("told.txt").read_text() == "told"
    one.remove(one.require("matrix", gone.fingerprint).folder)
    assert other.require("matrix", kept.fingerprint).file("told.txt").read_text() == "told"
    with pytest.raises(MissingUpstream):
        make_disk(one.root.parent / "third", URL, 1.0)
        Store(one.root.parent / "third").require("matrix", gone.fingerprint)
    _disk.cache_clear()
