"""What the store promises: whole or not there, never overwritten, never read when refused or damaged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from neo_assets.core.errors import DamagedArtifact, MissingUpstream, RefusedArtifact
from neo_assets.core.store import Check, MadeFrom, Outcome, Store, Workspace


def made_from(**config: object) -> MadeFrom:
    return MadeFrom(config=config, code={"m": "1"}, libraries={}, inputs={})


def write_one(out: Workspace) -> Outcome:
    out.write("part-00000.parquet", pa.table({"x": [1, 2]}))
    return Outcome(digest="d", rows_in=2, rows_kept=2, rows_dropped=0)


def test_the_same_making_is_found_and_not_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, reused_first = store.build("a/b", made_from(x=1), write_one)
    second, reused_second = store.build("a/b", made_from(x=1), lambda out: pytest.fail("made again"))
    assert (reused_first, reused_second) == (False, True)
    assert first.fingerprint == second.fingerprint


def test_others_may_read_what_a_library_wrote_for_its_owner_alone(tmp_path: Path) -> None:
    def write(out: Workspace) -> Outcome:
        (out.path / "model.safetensors").touch(mode=0o600)
        return write_one(out)

    made, _ = Store(tmp_path).build("a/b", made_from(x=1), write)
    rights = {
        (made.path / name).stat().st_mode & 0o777
        for name in ("model.safetensors", "part-00000.parquet", "manifest.json")
    }
    assert len(rights) == 1 and rights != {0o600}


def test_any_part_of_the_making_changes_the_fingerprint() -> None:
    base = made_from(x=1)
    others = [
        made_from(x=2),
        base.model_copy(update={"code": {"m": "2"}}),
        base.model_copy(update={"libraries": {"numpy": "2"}}),
    ]
    assert len({m.fingerprint for m in (base, *others)}) == 4


def test_a_stage_killed_half_way_keeps_its_finished_shards(tmp_path: Path) -> None:
    script = f"""
import sys, time, pyarrow as pa
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from neo_assets.core.store import MadeFrom, Outcome, Store
def work(out):
    out.write("part-0.parquet", pa.table({{"x": [1]}}))
    (out.path / "part-1.parquet.tmp").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
Store(Path({str(tmp_path)!r})).build("a/b", MadeFrom(config={{"x": 1}}, code={{"m": "1"}}, libraries={{}}, inputs={{}}), work)
"""  # noqa: E501
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    def work(out: Workspace) -> Outcome:
        assert out.has("part-0.parquet")
        assert not list(out.path.glob("*.tmp"))
        out.write("part-1.parquet", pa.table({"x": [2]}))
        return Outcome(digest="d")

    started = time.monotonic()
    artifact, _ = Store(tmp_path).build("a/b", made_from(x=1), work)
    assert time.monotonic() - started < 30  # the dead writer's lock is gone
    assert set(artifact.manifest.files) == {"part-0.parquet", "part-1.parquet", "verdict.json"}


def test_a_failed_stage_commits_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def work(out: Workspace) -> Outcome:
        out.write("part-0.parquet", pa.table({"x": [1]}))
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.build("a/b", made_from(x=1), work)
    assert store.find("a/b", made_from(x=1).fingerprint) is None


def test_a_refused_artifact_cannot_be_read_by_anybody_later(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build(
        "a/b",
        made_from(x=1),
        lambda out: Outcome(digest="d", checks=[Check(name="rows_balance", passed=False, detail="3 in = 1 + 1")]),
    )
    store.set_head("r", "a/b", "a/b", made.fingerprint)
    with pytest.raises(RefusedArtifact, match=r"rows_balance: 3 in = 1 \+ 1"):
        Store(tmp_path).head("r", "a/b")


def test_a_failed_check_that_does_not_block_refuses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build(
        "a/b",
        made_from(x=1),
        lambda out: Outcome(digest="d", checks=[Check(name="nice", passed=False, detail="", blocking=False)]),
    )
    assert store.require("a/b", made.fingerprint).verdict[0].passed is False


@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    made, _ = store.build("a/b", made_from(x=1), write_one)
    file = made.path / "part-00000.parquet"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "remove":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    if damage == "flip":  # sizes agree; only hashing finds it
        found = store.find("a/b", made.fingerprint)
        assert found is not None
        assert store.verify(found) == [
            f"a/b {made.fingerprint[:12]}: part-00000.parquet does not hash to what its manifest says"
        ]
    else:
        with pytest.raises(DamagedArtifact, match=r"part-00000\.parquet"):
            store.find("a/b", made.fingerprint)


def test_a_missing_verdict_refuses(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build("a/b", made_from(x=1), lambda out: Outcome(digest="d"))
    path = made.path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["verdict.json"], manifest["seal"]
    path.write_text(json.dumps(manifest))
    (made.path / "verdict.json").unlink()
    with pytest.raises(RefusedArtifact):
        store.require("a/b", made.fingerprint)


def test_reading_before_making_names_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingUpstream, match="Materialize a/b first"):
        Store(tmp_path).head("laptop", "a/b")


def test_an_artifact_being_written_is_known_to_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.being_written("a/b", "f" * 64)
    with store.lock("a/b", "f" * 64):
        assert Store(tmp_path).being_written("a/b", "f" * 64)
        assert not store.being_written("a/b", "e" * 64)
    assert not store.being_written("a/b", "f" * 64)


def test_every_byte_of_a_manifest_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build(
        "a",
        MadeFrom(config={"n": 1}, code={"m": "0" * 32}, libraries={"python": "3.11"}, inputs={}),
        lambda out: Outcome(digest="d", numbers={"rows": 17}),
    )
    file = made.path / "manifest.json"
    before = file.read_bytes()
    for place in range(len(before)):
        file.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        with pytest.raises(DamagedArtifact, match="manifest"):
            store.find("a", made.fingerprint)
    file.write_bytes(before)
    assert store.find("a", made.fingerprint) == made


def test_a_manifest_that_was_written_anew_still_has_to_agree_with_its_fingerprint(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build(
        "a", MadeFrom(config={"n": 1}, code={}, libraries={}, inputs={}), lambda out: Outcome(digest="d")
    )
    made.manifest.made_from.config["n"] = 2
    (made.path / "manifest.json").write_text(made.manifest.sealed())
    changed = store.find("a", made.fingerprint)
    assert changed is not None and store.verify(changed) == [
        f"a {made.fingerprint[:12]}: what its manifest says it is made from has another fingerprint"
    ]


def test_a_manifest_of_before_seals_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, _ = store.build("a", MadeFrom(config={}, code={}, libraries={}, inputs={}), lambda out: Outcome(digest="d"))
    old = json.loads((made.path / "manifest.json").read_text())
    del old["seal"]
    (made.path / "manifest.json").write_text(json.dumps(old))
    found = store.find("a", made.fingerprint)
    assert found is not None and store.verify(found) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("a/{fingerprint}/verdict.json", "cannot be told whether the artifact passed"),
        ("builds/r/a.json", "which a the build uses"),
    ],
)
def test_small_files_that_are_torn_are_named(tmp_path: Path, broken: str, told: str) -> None:
    store = Store(tmp_path)
    made, _ = store.build("a", MadeFrom(config={}, code={}, libraries={}, inputs={}), lambda out: Outcome(digest="d"))
    store.set_head("r", "a", "a", made.fingerprint)
    file = tmp_path / broken.format(fingerprint=made.fingerprint)
    file.write_text(file.read_text()[:1] + "x")
    with pytest.raises(DamagedArtifact, match=told) as raised:
        store.head("r", "a")
    assert str(file) in str(raised.value)
