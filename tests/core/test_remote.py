"""A store on object storage: whole or not there for every disk, one commit whoever tries, no byte taken on trust."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core import disk as disks
from neo_assets.core import lease, records, remote
from neo_assets.core import objects as objects_module
from neo_assets.core.disk import make_disk
from neo_assets.core.errors import DamagedArtifact, NeoError
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.here import here, in_pieces, size_of
from neo_assets.core.objects import Objects, Unconditional
from neo_assets.core.place import _disk, store_root
from neo_assets.core.reach import needed
from neo_assets.core.remote import remote_of
from neo_assets.core.same_file import take_over
from neo_assets.core.shards import LocalEngine, run_shards
from neo_assets.core.store import InputRef, MadeFrom, Outcome, Store, Workspace
from neo_assets.core.sweeping import sweep
from neo_assets.core.thinned import Thinned, thin
from neo_assets.core.tombstones import Target, read_tombstones, record
from tests.servers import S3

URL = f"{S3.BUCKET}/a/store"
PART = "part-00000.parquet"


def made_from(inputs: dict[str, InputRef] | None = None, **config: object) -> MadeFrom:
    return MadeFrom(config=config, code={"m": "1"}, libraries={}, inputs=inputs or {})


def write_one(out: Workspace) -> Outcome:
    out.write(PART, pa.table({"x": [1, 2]}))
    out.write_text("notes/told.txt", "told")
    return Outcome(digest="d", rows_in=2, rows_kept=2, rows_dropped=0)


def no_making(out: Workspace) -> Outcome:
    pytest.fail("made again")


@pytest.fixture
def disk(s3: S3, tmp_path: Path) -> Callable[..., Store]:
    """Opens the store on a disk of this name."""

    def opened(name: str, gigabytes: float = 1.0) -> Store:
        make_disk(tmp_path / name, URL, gigabytes)
        return Store(tmp_path / name)

    return opened


def remote_in(store: Store) -> remote.Remote:
    assert store.remote is not None
    return store.remote


# ------------------------------------------------------------------ found from elsewhere


def test_what_one_disk_has_made_another_finds_and_reads(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")
    made, _ = one.build("a/b", made_from(x=1), write_one)
    found, reused = other.build("a/b", made_from(x=1), no_making)
    assert reused and found.manifest == made.manifest and found.verdict == made.verdict
    assert sorted(p.name for p in found.folder.iterdir()) == ["manifest.json", "verdict.json"]  # nothing else yet
    part = found.files("part-")[0]
    assert size_of(part) == made.files("part-")[0].stat().st_size
    assert in_pieces(part).read(4) == b"PAR1" and not part.exists()  # type: ignore[union-attr]
    assert records.read_table(part).column("x").to_pylist() == [1, 2] and part.exists()
    assert found.path.joinpath("notes/told.txt").read_text() == "told"
    assert other.find("a/b", "0" * 32) is None


def test_workers_bring_what_they_read(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")

    def many(out: Workspace) -> Outcome:
        for i in range(6):
            out.write(f"part-{i:05d}.parquet", pa.table({"x": [i]}))
        return Outcome(digest="d")

    made, _ = one.build("a/b", made_from(x=1), many)
    found = other.require("a/b", made.fingerprint)
    shards = found.files("part-")

    def double(out: Workspace) -> Outcome:
        run_shards(partial(doubled, out.path), shards, out, writes=lambda s: out.path / s.name, input_bytes=1)
        return Outcome(digest="e")

    engine = LocalEngine(workers=2, at_least_bytes=0)
    written = other.build("a/c", made_from(x=2), double, engine=engine)[0].files("part-")
    assert [records.read_table(path).column("x").to_pylist() for path in written] == [[2 * i] for i in range(6)]
    assert all(path.exists() for path in shards)


def doubled(folder: Path, shard: Path) -> None:
    table = records.read_table(shard)
    records.write_table(pa.table({"x": [2 * value for value in table.column("x").to_pylist()]}), folder / shard.name)


def test_a_build_names_what_every_disk_can_have(disk: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FRESH_S", 0.0)
    one, other = disk("one"), disk("other")
    made, _ = one.build("a/b", made_from(x=1), write_one)
    one.set_head("mine", "a/b", "a/b", made.fingerprint)
    assert other.recipes() == ["mine"] and other.heads("mine") == {"a/b": ("a/b", made.fingerprint)}
    assert other.head("mine", "a/b").manifest == made.manifest
    second, _ = other.build("a/b", made_from(x=2), write_one)
    other.set_head("mine", "a/b", "a/b", second.fingerprint)
    assert one.head("mine", "a/b").fingerprint == second.fingerprint
    assert {name for _, name, _ in one.all()} == {made.fingerprint, second.fingerprint}
    one.remove(one.root / "builds" / "mine")
    assert other.heads("mine") == {}


def test_an_artifact_that_a_job_left_is_sent_before_a_build_names_it(
    disk: Callable[..., Store], tmp_path: Path
) -> None:
    one, other = disk("one"), disk("other")
    made, _ = Store(tmp_path / "plain").build("checkpoint/m", made_from(x=1), write_one)
    target = one.root / "checkpoint/m" / made.fingerprint
    target.parent.mkdir(parents=True)
    made.folder.rename(target)
    assert other.find("checkpoint/m", made.fingerprint) is None
    one.set_head("mine", "checkpoint/m", "checkpoint/m", made.fingerprint)
    assert other.head("mine", "checkpoint/m").path.joinpath("notes/told.txt").read_text() == "told"


# ------------------------------------------------------------------ one commit, whoever tries


def test_of_sixteen_writers_at_once_one_commits_and_all_have_its_bytes(disk: Callable[..., Store]) -> None:
    stores = [disk(f"disk{i}") for i in range(16)]
    start = threading.Barrier(16)

    def make(i: int) -> str:
        def write(out: Workspace) -> Outcome:
            out.write_text("told.txt", f"by {i}")
            return Outcome(digest="d")

        store = stores[i]
        remote_in(store).lease = lambda *_: Nobody()  # type: ignore[method-assign,assignment]
        fingerprint = made_from(x=1).fingerprint
        publish = remote_in(store).publish
        remote_in(store).publish = lambda *a, **k: (start.wait(30), publish(*a, **k))[1]  # type: ignore[method-assign]
        made, reused = store.build("a/b", made_from(x=1), write)
        assert made.fingerprint == fingerprint and not reused
        return store.require("a/b", fingerprint).file("told.txt").read_text()

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(make, range(16)))
    assert len(set(told)) == 1
    objects = [o.name for o in Objects(URL).list("artifacts/")]
    assert sum(name.endswith("commit.json") for name in objects) == 1 and len(objects) == 2  # no loser's file is left
    assert remote_in(stores[0]).verify("a/b", made_from(x=1).fingerprint) == []


class Nobody:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_two_disks_do_not_make_one_thing_twice(disk: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOKED_S", 0.1)
    one, other, entered, said = disk("one"), disk("other"), threading.Event(), list[str]()

    def slow(out: Workspace) -> Outcome:
        entered.set()
        time.sleep(1)
        return write_one(out)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.build, "a/b", made_from(x=1), slow)
        entered.wait(30)
        assert [key for key, _ in other.at_work()] == ["a/b"]
        found, reused = other.build("a/b", made_from(x=1), no_making, said.append)
    assert reused and not first.result()[1] and found.fingerprint == first.result()[0].fingerprint
    assert "it is being made on another disk" in said[0] and other.remote is not None
    assert list(other.remote.objects.list("leases/")) == []


def test_a_dead_holder_is_not_waited_for_and_one_that_lives_renews(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_S", 0.5)
    monkeypatch.setattr(lease, "DEAD_S", 3.0)
    monkeypatch.setattr(lease, "LOOKED_S", 0.2)
    objects, waited = Objects(URL), list[int]()
    objects.put("leases/a.json", b'{"key": "of somebody who died"}')
    began = time.monotonic()
    with lease.Lease(objects, "a", {"key": "mine"}, lambda: waited.append(1)):
        assert 2 < time.monotonic() - began < 10 and waited == [1]
        time.sleep(4)
        assert [told["key"] for told in lease.alive(objects)] == ["mine"]
    assert lease.alive(objects) == []


SCRIPT = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from neo_assets.core import objects
from neo_assets.core.objects import Objects
from neo_assets.core.store import Store
from tests.core.test_remote import made_from, write_big

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{patch}
Store(Path(sys.argv[1])).build("a/b", made_from(x=1), write_big)
"""


def write_big(out: Workspace) -> Outcome:
    for i in range(3):
        out.write_text(f"small{i}.txt", f"small {i}")
    (out.path / "big.bin").write_bytes(bytes(range(256)) * 90_000)
    return Outcome(digest="d")


def killed(store: Store, s3: S3, patch: str) -> None:
    script = SCRIPT.format(patch=textwrap.dedent(patch))
    done = subprocess.run([sys.executable, "-c", script, str(store.root)], cwd=ROOT, env=s3.env, timeout=120)
    assert done.returncode == -signal.SIGKILL


BEFORE_THE_COMMIT = """
put_once = Objects.put_once
Objects.put_once = lambda self, name, data: die() if name.endswith("commit.json") else put_once(self, name, data)
"""
AFTER_THE_COMMIT = """
put_once = Objects.put_once
Objects.put_once = lambda self, name, data: (put_once(self, name, data), "commit" in name and die())[0]
"""
IN_A_MULTIPART = """
objects.PIECE = 5 << 20
class Torn(bytes): pass
stream = Path.open
def opened(self, *a, **k):
    file = stream(self, *a, **k)
    if self.name == "big.bin" and a == ("rb",) and sys._getframe(1).f_code.co_name == "pieces":
        read, turns = file.read, []
        class Reader:
            def __enter__(self): return self
            def __exit__(self, *_): file.close()
            def read(self, n):
                turns.append(n)
                if len(turns) > 3: die()
                return read(n)
        return Reader()
    return file
Path.open = opened
"""


@pytest.mark.parametrize(
    ("patch", "committed"),
    [(BEFORE_THE_COMMIT, False), (IN_A_MULTIPART, False), (AFTER_THE_COMMIT, True)],
    ids=["before the commit", "in a multipart", "after the commit"],
)
def test_killed_while_it_commits_nothing_is_torn_and_nothing_is_made_again(
    disk: Callable[..., Store], s3: S3, monkeypatch: pytest.MonkeyPatch, patch: str, committed: bool
) -> None:
    monkeypatch.setattr(lease, "DEAD_S", 1.0)
    monkeypatch.setattr(lease, "LOOKED_S", 0.2)
    one, other = disk("one"), disk("other")
    killed(one, s3, patch)
    fingerprint = made_from(x=1).fingerprint
    assert (other.find("a/b", fingerprint) is not None) is committed
    before = {o.name: o.modified for o in Objects(URL).list("artifacts/")}
    if patch is IN_A_MULTIPART:
        assert not any(name.endswith("big.bin") for name in before)
    time.sleep(2)
    _made, reused = one.build("a/b", made_from(x=1), no_making)  # what was made is on this disk
    assert reused
    one.set_head("mine", "a/b", "a/b", fingerprint)
    there = other.require("a/b", fingerprint)
    assert there.file("big.bin").read_bytes() == bytes(range(256)) * 90_000
    assert remote_in(other).verify("a/b", fingerprint) == []
    after = {o.name: o.modified for o in Objects(URL).list("artifacts/")}
    assert {n: t for n, t in after.items() if n in before} == before  # what had been sent was not sent again
    assert sum(name.endswith("big.bin") for name in after) == 1


# ------------------------------------------------------------------ no byte on trust


def test_a_byte_changed_in_the_object_store_is_noticed_by_who_reads_and_who_verifies(
    disk: Callable[..., Store],
) -> None:
    one, other = disk("one"), disk("other")
    made, _ = one.build("a/b", made_from(x=1), write_one)
    objects = Objects(URL)
    (place,) = [o.name for o in objects.list("artifacts/") if o.name.endswith(PART)]
    read = objects.read(place)
    assert read is not None
    data = bytearray(read.data)
    data[len(data) // 2] ^= 1
    objects.put(place, bytes(data))
    found = other.require("a/b", made.fingerprint)
    with pytest.raises(DamagedArtifact, match=r"part-00000.parquet, a file of a/b, does not hash"):
        records.read_table(found.files("part-")[0])
    assert not found.files("part-")[0].exists()
    assert [PART in line and URL in line for line in other.verify(found)] == [True]
    assert [PART in line for line in one.verify(made)] == [True]  # its own copy is sound
    objects.delete([place])
    with pytest.raises(DamagedArtifact, match=r"is gone, a file of a/b\. Remove its commit\.json"):
        records.read_table(found.files("part-")[0])
    assert "is gone" in other.verify(found)[0]


def test_a_commit_that_names_less_than_its_manifest_is_not_taken_for_one_whose_states_were_let_go(
    disk: Callable[..., Store],
) -> None:
    one, other = disk("one"), disk("other")
    made, _ = one.build("a/b", made_from(x=1), write_one)
    place = f"artifacts/a/b/{made.fingerprint}/commit.json"
    read = Objects(URL).read(place)
    assert read is not None
    told = json.loads(read.data)
    del told["objects"][PART]
    Objects(URL).put(place, json.dumps(told).encode())
    with pytest.raises(DamagedArtifact, match=r"names no part-00000\.parquet"):
        other.find("a/b", made.fingerprint)
    assert ["names no part-00000.parquet" in line for line in one.verify(made)] == [True]


def test_a_commit_that_names_a_file_elsewhere_is_not_believed(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")
    made, _ = one.build("a/b", made_from(x=1), write_one)
    place = f"artifacts/a/b/{made.fingerprint}/commit.json"
    read = Objects(URL).read(place)
    assert read is not None
    Objects(URL).put(place, read.data.replace(b"notes/told.txt", b"../../../told.txt"))
    with pytest.raises(DamagedArtifact, match=r"names a file outside of its folder: \.\./\.\./\.\./told\.txt"):
        other.find("a/b", made.fingerprint)


def test_what_the_disk_lost_before_it_was_sent_is_not_committed(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")

    def write(out: Workspace) -> Outcome:
        path = out.write(PART, pa.table({"x": [1, 2]}))
        facts = path.stat()
        data = bytearray(path.read_bytes())
        data[9] ^= 1
        with path.open("r+b") as stream:
            stream.write(data)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        return Outcome(digest="d")

    with pytest.raises(DamagedArtifact, match=r"part-00000.parquet does not hash .* was not committed"):
        one.build("a/b", made_from(x=1), write)
    assert other.find("a/b", made_from(x=1).fingerprint) is None


def test_a_file_of_an_input_is_not_sent_again(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")
    first, _ = one.build("a/b", made_from(x=1), write_one)

    def passes_on(out: Workspace) -> Outcome:
        take_over(first.files("part-")[0], out.path / "kept-00000.parquet")
        return Outcome(digest="e")

    inputs = {"a/b": InputRef(fingerprint=first.fingerprint, digest="d")}
    second, _ = one.build("a/c", made_from(inputs, x=2), passes_on)
    names = [o.name for o in Objects(URL).list("artifacts/a/c/")]
    assert sorted(n.rpartition("/")[2] for n in names) == ["commit.json"]
    one.remove(first.folder)
    sweep(remote_in(one), 0, remove=True)
    found = other.require("a/c", second.fingerprint)
    assert records.read_table(found.files("kept-")[0]).column("x").to_pylist() == [1, 2]
    assert other.find("a/b", first.fingerprint) is None


def test_states_that_a_run_lets_go_leave_the_object_store_too(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")

    def write(out: Workspace) -> Outcome:
        out.write_text("state/weights.pt", "large")
        out.write_text("certificate.json", str(out.path))
        return Outcome(digest="d")

    sent, _ = one.build("checkpoint/m", made_from(x=1), write)
    thin(sent.folder, ["state/weights.pt"])
    remote_in(one).let_go("checkpoint/m", sent.fingerprint, ["state/weights.pt"])
    later, _ = Store(one.root.parent / "plain").build("checkpoint/m", made_from(x=2), write)
    thin(later.folder, ["state/weights.pt"])  # before anybody could send it
    later.folder.rename(one.root / "checkpoint/m" / later.fingerprint)
    one.publish("checkpoint/m", later.fingerprint)
    assert sweep(remote_in(one), -10, remove=True)[0] == 1
    assert [o.name for o in Objects(URL).list("artifacts/") if o.name.endswith(".pt")] == []
    for fingerprint in (sent.fingerprint, later.fingerprint):
        found = other.require("checkpoint/m", fingerprint)
        assert other.verify(found) == [] == one.verify(one.require("checkpoint/m", fingerprint))
        assert found.file("certificate.json").is_file()
        with pytest.raises(Thinned):
            _ = found.path


# ------------------------------------------------------------------ the disk's bound, and what nobody needs


def test_files_leave_a_full_disk_and_come_back(disk: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "IN_USE_S", 0.0)
    monkeypatch.setattr(disks, "LOOKED_S", 0.0)
    one, small = disk("one"), disk("small", gigabytes=0.003)
    for x in range(3):

        def write(out: Workspace, x: int = x) -> Outcome:
            (out.path / "text.bin").write_bytes(bytes([x]) * 2_000_000)
            return Outcome(digest=str(x))

        one.build("a/b", made_from(x=x), write)
    for x in (0, 1, 2, 0):
        found = small.require("a/b", made_from(x=x).fingerprint)
        assert found.file("text.bin").read_bytes() == bytes([x]) * 2_000_000
        there = list(small.root.rglob("text.bin"))
        assert there == [found.folder / "text.bin"]
    assert len(list(one.root.rglob("text.bin"))) == 3


def test_what_a_stage_reads_stays_on_a_full_disk_unless_it_comes_again_by_itself(
    disk: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "IN_USE_S", 0.0)
    monkeypatch.setattr(disks, "LOOKED_S", 0.0)
    one, small = disk("one"), disk("small", gigabytes=0.000001)

    def write(out: Workspace) -> Outcome:
        out.write(PART, pa.table({"x": list(range(1000))}))
        (out.path / "tokens.bin").write_bytes(b"t" * 10_000)
        return Outcome(digest="d")

    first, _ = one.build("a/b", made_from(x=1), write)
    second, _ = one.build("a/b", made_from(x=2), write)
    read, other = (small.require("a/b", made.fingerprint) for made in (first, second))

    def reads(out: Workspace) -> Outcome:
        # What comes again by itself may go while the next file comes, on a machine at work.
        assert any((read.path / PART).is_file() for _ in range(50)) and other.path.is_dir()
        remote_in(small).room.make(1)
        assert sorted(p.name for p in read.folder.glob("*.*") if p.name[0] in "pt") == ["tokens.bin"]
        assert not (other.folder / "tokens.bin").exists()
        assert records.read_table(read.files("part-")[0]).num_rows == 1000
        return Outcome(digest="e")

    small.build("a/c", made_from({"a/b": InputRef(fingerprint=first.fingerprint, digest="d")}), reads)


def test_what_no_commit_refers_to_is_swept_and_nothing_else(disk: Callable[..., Store], s3: S3) -> None:
    one = disk("one")
    killed(one, s3, BEFORE_THE_COMMIT)
    objects = Objects(URL)
    objects.delete([o.name for o in objects.list("leases/")])
    other = disk("other")
    kept, _ = other.build("a/c", made_from(x=2), write_one)
    assert sweep(remote_in(other), 3600, remove=True) == (0, 0)
    assert sweep(remote_in(other), -10, remove=False)[0] == 4
    assert sweep(remote_in(other), -10, remove=True)[0] == 4
    assert remote_in(other).verify("a/c", kept.fingerprint) == []
    assert sweep(remote_in(other), -10, remove=True) == (0, 0)


def test_what_another_disk_has_made_anew_is_not_swept_by_one_that_knows_the_old(disk: Callable[..., Store]) -> None:
    one, other, third = disk("one"), disk("other"), disk("third")
    first, _ = one.build("a/b", made_from(x=1), write_one)
    assert other.require("a/b", first.fingerprint) and third.require("a/b", first.fingerprint)
    one.remove(first.folder)

    def write_other(out: Workspace) -> Outcome:
        out.write(PART, pa.table({"x": [1, 2], "at": [time.time()] * 2}))
        return Outcome(digest="d")

    one.build("a/b", made_from(x=1), write_other)
    assert sweep(remote_in(other), -10, remove=True)[0] == 2  # the first making's
    assert remote_in(one).verify("a/b", first.fingerprint) == []
    with pytest.raises(DamagedArtifact, match="another disk has made anew it"):
        records.read_table(third.require("a/b", first.fingerprint).files("part-")[0])


def test_a_writer_at_work_is_not_swept(disk: Callable[..., Store], s3: S3) -> None:
    one = disk("one")
    killed(one, s3, BEFORE_THE_COMMIT)  # its lease is still held, as far as anybody can tell
    assert sweep(remote_in(disk("other")), -10, remove=True) == (0, 0)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("forgets", ["if-none-match", "if-match"])
def test_a_server_that_ignores_conditions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgets: str
) -> None:
    with S3(tmp_path, forgets=(forgets,)) as server:
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, server.env[name])
        with pytest.raises(Unconditional, match=rf"(?i)this server ignores conditions \({forgets}\)"):
            make_disk(tmp_path / "disk", URL, 1.0)
    assert not (tmp_path / "disk").exists()


def test_a_disk_is_of_one_store(disk: Callable[..., Store], tmp_path: Path) -> None:
    disk("one")
    with pytest.raises(NeoError, match="is the disk of s3://factory/a/store, not of s3://factory/b"):
        make_disk(tmp_path / "one", f"{S3.BUCKET}/b", 1.0)
    plain = Store(tmp_path / "plain")
    made, _ = plain.build("a/b", made_from(x=1), write_one)
    plain.set_head("mine", "a/b", "a/b", made.fingerprint)
    with pytest.raises(NeoError, match="holds a store of its own"):
        make_disk(tmp_path / "plain", URL, 1.0)
    with pytest.raises(NeoError, match="there is no such bucket"):
        make_disk(tmp_path / "none", "s3://nobodys/store", 1.0)


def test_the_environment_names_store_disk_and_bound(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _disk.cache_clear()
    remote_of.cache_clear()
    monkeypatch.setenv("NEO_STORE", URL)
    monkeypatch.setenv("NEO_STORE_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv("NEO_STORE_DISK_GB", "7.5")
    assert store_root() == tmp_path / "disk"
    told = json.loads((tmp_path / "disk" / "objects.json").read_text())
    assert (told["url"], told["gigabytes"]) == (URL, 7.5) and "tests" not in json.dumps(told)  # no secret
    _disk.cache_clear()
    monkeypatch.setenv("NEO_STORE", "ftp://somewhere/store")
    with pytest.raises(NeoError, match="a store is a folder, or BUCKET/PREFIX after one of s3://"):
        store_root()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NEO_STORE_DISK_GB", "nan", "NEO_STORE_DISK_GB=nan: a number of gigabytes, more than 0"),
        ("NEO_STORE_DISK_GB", "-1", "NEO_STORE_DISK_GB=-1: a number of gigabytes, more than 0"),
        ("NEO_STORE_DISK", "s3://factory/disk", "NEO_STORE_DISK=s3://factory/disk: a disk is a folder of this machine"),
        ("NEO_STORE_DISK", "/proc/x", "/proc/x cannot be the disk of s3://factory/a/store: "),
        ("NEO_STORE", "s3:/factory/x", "s3:/factory/x: a store is a folder, or BUCKET/PREFIX after one of s3://"),
        ("NEO_STORE", "s3://", "s3://: a store is a folder, or BUCKET/PREFIX after one of s3://"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9", "AWS_ENDPOINT_URL=127.0.0.1:9: it begins with http:// or https://"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "s3://factory/a/store cannot be asked: "),
        ("AWS_ACCESS_KEY_ID", None, "No credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_cannot_be_a_store_is_told_by_name(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, told: str
) -> None:
    _disk.cache_clear()
    monkeypatch.setenv("NEO_STORE", URL)
    monkeypatch.setenv("NEO_STORE_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
    if name == "AWS_ACCESS_KEY_ID":
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NeoError) as raised:
        store_root()
    assert told in str(raised.value)
    assert not (tmp_path / "disk" / "objects.json").exists()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_module, "ANSWER_S", 1)
    monkeypatch.setattr(objects_module, "RETRIED_S", 3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "tests")
        began = time.monotonic()
        with pytest.raises(NeoError, match="cannot be asked"):
            Objects(URL).read("anything")
        assert time.monotonic() - began < 60


def test_one_commit_that_cannot_be_read_stops_nobody_but_who_asks_for_it(disk: Callable[..., Store]) -> None:
    one, other = disk("one"), disk("other")
    broken, _ = one.build("a/b", made_from(x=1), write_one)
    sound, _ = one.build("a/b", made_from(x=2), write_one)
    place = f"artifacts/a/b/{broken.fingerprint}/commit.json"
    read = Objects(URL).read(place)
    assert read is not None
    Objects(URL).put(place, read.data[:100])
    assert [name for _, name, _ in other.all()] == [sound.fingerprint]
    with pytest.raises(DamagedArtifact, match=r"commit\.json cannot be read .* Remove that object"):
        other.find("a/b", broken.fingerprint)
    with pytest.raises(DamagedArtifact):  # what is needed cannot be told
        needed(other, [], [])
    Objects(URL).delete([place])
    assert one.build("a/b", made_from(x=1), no_making)[1]
    one.set_head("mine", "a/b", "a/b", broken.fingerprint)
    assert other.require("a/b", broken.fingerprint).path.is_dir()


def test_a_file_of_no_store_is_left_to_who_opens_it(tmp_path: Path) -> None:
    assert here(tmp_path / "nothing") == tmp_path / "nothing"
    with pytest.raises(FileNotFoundError):
        size_of(tmp_path / "nothing")


def test_tombstones_are_one_row_on_all_disks(disk: Callable[..., Store]) -> None:
    here, there = disk("a"), disk("b")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record([here, there][n % 2].root, Target.of(f"source:s{n}"), "opt-out"), range(8)))
    told = read_tombstones(here.root)
    assert told == read_tombstones(there.root) and sorted(t.value for t in told) == [f"s{n}" for n in range(8)]
    assert read_tombstones(disk("c").root) == told
    assert read_tombstones(disk("d").root, ask=False) == []  # what definitions load with asks nobody
