"""What is collected, and what never is: every state of a job, with everything a job can need."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.cli import app
from neo_assets.core import process
from neo_assets.core.errors import NeoError
from neo_assets.core.frozen import COPIES
from neo_assets.core.jobs import ALIVE, Attempt, JobFolder, JobSpec, JobState
from neo_assets.core.recipe import load
from neo_assets.core.store import MANIFEST, PARTIAL, Artifact, InputRef, MadeFrom, Manifest, Outcome, Store, input_refs
from neo_assets.house.gc import Collectable, collectable, freed, older_than
from neo_assets.runs.asked import asked_runs, not_anothers, note_asked
from resources.compute.local import LocalCompute
from training.spec import checkpoint_name

RUN = "a1" * 16
PARENT = "b2" * 16


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def artifact(store: Store, key: str, *inputs: Artifact) -> Artifact:
    made_from = MadeFrom(
        config={"key": key, "n": len(inputs)}, code={}, libraries={}, inputs=input_refs({a.key: a for a in inputs}, {})
    )
    return store.build(key, made_from, lambda out: Outcome(digest=key))[0]


def checkpoint(store: Store, run: str, fingerprint: str, step: int, origin: tuple[str, str] | None = None) -> Path:
    """A committed checkpoint, as training leaves it."""
    folder = store.root / "checkpoint" / run / checkpoint_name(step, fingerprint)
    folder.mkdir(parents=True)
    inputs = {f"pretraining/{run}": InputRef(fingerprint=fingerprint, digest="d")} | (
        {origin[0]: InputRef(fingerprint=origin[1], digest="d")} if origin else {}
    )
    made_from = MadeFrom(config={}, code={}, libraries={}, inputs=inputs)
    manifest = Manifest(
        key=f"checkpoint/{run}",
        fingerprint=folder.name,
        digest="d",
        made_from=made_from,
        files={},
        seconds=0,
        created_at="",
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    (folder / "verdict.json").write_text("[]")
    return folder


def training_job(store: Store, shards: Artifact, start: Path | None = None) -> JobFolder:
    folder = JobFolder(store.root / "jobs" / RUN)
    config: dict[str, object] = {"start": {"folder": store.relative(start)}} if start else {}
    given = {"token_shards": store.relative(shards.path)}
    makes = [f"pretraining/main/{RUN}"]
    folder.write_spec(
        JobSpec(
            work_fingerprint=RUN,
            title="pretraining/main",
            program="p",
            code={},
            libraries={},
            config=config,
            inputs=given,
            out="checkpoint/main",
            makes=makes,
        )
    )
    return folder


def in_state(folder: JobFolder, state: JobState) -> None:
    """As a job is left on disk in this state; RUNNING is this very process."""
    if state is not JobState.NEW:
        handle: dict[str, str | int] = process.handle(os.getpid() if state is JobState.RUNNING else 2**22 + 1)
        handle |= {"host": "a node that is not this one"} if state is JobState.ELSEWHERE else {}
        folder.record_attempt(Attempt(number=1, backend="local", handle=handle, started_at=1.0))
    if state is JobState.FAILED:
        folder.rc_file(1).write_text("3")
    if state is JobState.STOPPED:
        folder.rc_file(1).write_text("75")
        folder.mark_stopped(1, "preempted")
    if state in (JobState.CANCELLED, JobState.PAUSED):
        folder.mark(str(state))


def shown(store: Store, grace_s: float = -1.0) -> set[str]:
    found, _ = older_than(collectable(store, load("ci"), LocalCompute(store.root))[0], grace_s)
    return {item.path.relative_to(store.root).as_posix() for item in found}


STATES = [s for s in JobState if s not in (JobState.SUCCEEDED, JobState.QUEUED)]


@pytest.mark.parametrize("state", STATES)
def test_whatever_its_state_a_job_that_is_not_gathered_keeps_all_it_needs(store: Store, state: JobState) -> None:
    pool = artifact(store, "train_pool")
    shards = artifact(store, "token_shards/fundamental", pool)
    parents = checkpoint(store, "old", PARENT, 10)
    told = artifact(store, "pretraining/old")
    job = training_job(store, shards, start=parents)
    in_state(job, state)
    assert LocalCompute(store.root).poll(job) is state
    mine = [checkpoint(store, "main", RUN, step) for step in (0, 10)]
    half = mine[0].with_name(f"{PARTIAL}{checkpoint_name(20, RUN)}")
    half.mkdir()
    needed = {p.relative_to(store.root).as_posix() for p in (pool.path, shards.path, parents, *mine, half, job.path)}
    assert not needed & shown(store)
    assert told.path.relative_to(store.root).as_posix() in shown(store)  # another run's: nothing leads to it

    (job.path / "abandoned").touch()
    expected = set() if state in ALIVE else needed  # given up, but its process is, or may be, still at work
    assert needed & shown(store) == expected


def test_a_gathered_job_is_kept_as_long_as_the_run_it_made_and_no_longer(store: Store) -> None:
    shards = artifact(store, "token_shards/fundamental")
    job = training_job(store, shards)
    in_state(job, JobState.FAILED)
    mine = checkpoint(store, "main", RUN, 10)
    finished = store.root / "pretraining" / "main" / RUN
    finished.mkdir(parents=True)
    refs = {shards.key: InputRef(fingerprint=shards.fingerprint, digest="d")}
    made_from = MadeFrom(config={}, code={}, libraries={}, inputs=refs)
    (finished / MANIFEST).write_text(
        Manifest(
            key="pretraining/main", fingerprint=RUN, digest="d", made_from=made_from, files={}, seconds=0, created_at=""
        ).model_dump_json()
    )
    everything = {p.relative_to(store.root).as_posix() for p in (mine, finished, shards.path, job.path)}
    store.set_head("ci", "pretraining/main", "pretraining/main", RUN)
    assert not everything & shown(store)
    store.set_head("ci", "pretraining/main", "pretraining/main", PARENT)
    assert everything <= shown(store)


def test_another_job_is_collected_when_what_it_made_is_there(store: Store) -> None:
    made = artifact(store, "hf_model/main")
    store.set_head("ci", "hf_model/main@0000010-a1a1a1a1", "hf_model/main", made.fingerprint)
    job = JobFolder(store.root / "jobs" / RUN)
    job.write_spec(
        JobSpec(
            work_fingerprint=RUN,
            title="hf_model/main",
            program="p",
            code={},
            libraries={},
            config={},
            inputs={},
            out="o",
            makes=[f"hf_model/main/{made.fingerprint}"],
        )
    )
    assert f"jobs/{RUN}" in shown(store)
    assert made.path.relative_to(store.root).as_posix() not in shown(store)


def test_what_something_started_from_is_kept_without_the_rest_of_its_run(store: Store) -> None:
    kept, other = checkpoint(store, "old", PARENT, 10), checkpoint(store, "old", PARENT, 20)
    branch = checkpoint(store, "main", RUN, 10, origin=("checkpoint/old", kept.name))
    store.set_head("ci", "checkpoint/main@x", "checkpoint/main", branch.name)
    store.set_head("another", "hf_model/main@x", "checkpoint/main", branch.name)
    gone = shown(store)
    assert other.relative_to(store.root).as_posix() in gone
    assert not {p.relative_to(store.root).as_posix() for p in (kept, branch)} & gone


def test_heads_of_every_recipe_keep_what_they_were_made_from(store: Store) -> None:
    first = artifact(store, "matrix")
    last = artifact(store, "heldout", first)
    store.set_head("somebody elses", "heldout", "heldout", last.fingerprint)
    assert not {a.path.relative_to(store.root).as_posix() for a in (first, last)} & shown(store)


def test_what_was_just_made_or_found_again_is_left_alone(store: Store) -> None:
    made = artifact(store, "matrix")
    name = made.path.relative_to(store.root).as_posix()
    long_ago = time.time() - 7200
    assert name not in shown(store, 3600)
    for path in (made.path, made.path / MANIFEST):
        os.utime(path, (long_ago, long_ago))
    assert name in shown(store, 3600)
    assert artifact(store, "matrix").fingerprint == made.fingerprint  # found again, and about to be named
    assert name not in shown(store, 3600)


def test_what_a_stage_at_work_reads_is_left_alone(store: Store) -> None:
    read = artifact(store, "matrix")
    name = read.path.relative_to(store.root).as_posix()
    refs = input_refs({"matrix": read}, {})
    with store.lock("heldout", "f" * 32, refs):
        assert name not in shown(store)
        (store.root / "heldout" / f"{PARTIAL}{'f' * 32}").mkdir(parents=True)
        assert f"heldout/{PARTIAL}{'f' * 32}" not in shown(store)
    assert {name, f"heldout/{PARTIAL}{'f' * 32}", "locks/heldout." + "f" * 32} <= shown(store)


def test_nothing_is_removed_while_a_job_cannot_be_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = training_job(store, artifact(store, "token_shards/fundamental"))
    (job.path / "abandoned").touch()

    def no_answer(self: LocalCompute, folder: JobFolder) -> JobState:
        raise NeoError("the controller does not answer")

    monkeypatch.setattr(LocalCompute, "poll", no_answer)
    found, doubts, _ = collectable(store, load("ci"), LocalCompute(store.root))
    assert len(doubts) == 1 and "cannot be asked: the controller does not answer" in doubts[0]
    assert job.path not in {item.path for item in found}


def test_a_job_of_another_version_stands_against_removing(store: Store) -> None:
    folder = store.root / "jobs" / RUN
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"version": 1, "work_fingerprint": RUN}))
    _, doubts, _ = collectable(store, load("ci"), LocalCompute(store.root))
    assert doubts and "of another version" in doubts[0]


def test_results_locks_damaged_checkpoints_and_proofs_of_what_is_gone_are_collected(store: Store) -> None:
    (store.root / "scoring" / "s").mkdir(parents=True)
    (store.root / "proofs" / "main").mkdir(parents=True)
    (store.root / "proofs" / "main" / "0000010-00000000.json").write_text("{}")
    (store.root / "checkpoint" / "main" / ".damaged-1-0000010-00000000").mkdir(parents=True)
    with store.lock("matrix", "x"):
        pass
    assert {
        "scoring/s",
        "proofs/main/0000010-00000000.json",
        "checkpoint/main/.damaged-1-0000010-00000000",
        "locks/matrix.x",
    } <= shown(store)


def test_the_build_of_a_recipe_that_is_gone_is_named_and_can_be_let_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_STORE", str(store.root))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    mine, theirs = artifact(store, "matrix"), artifact(store, "matrix", artifact(store, "clean_docs/en"))
    store.set_head("ci", "matrix", "matrix", mine.fingerprint)
    store.set_head("gone", "matrix", "matrix", theirs.fingerprint)
    note_asked(store, "gone", "main", RUN)
    store.set_head("gone", "pretraining/main", "pretraining/main", PARENT)
    printed = CliRunner().invoke(app, ["gc"]).output
    assert (
        "builds of recipes that are not in recipes/ are kept, too: gone; `neo gc --forget gone` lets go of one"
        in printed
    )
    done = CliRunner().invoke(app, ["gc", "--forget", "gone", "--grace", "0", "--remove"])
    assert done.exit_code == 0, done.output
    assert not theirs.path.exists() and mine.path.exists()
    assert store.recipes() == ["ci"]
    # What it trained stays its own: nobody else's `main` shall mean it.
    assert asked_runs(store, "gone", "main") == [RUN, PARENT]
    assert not any(not_anothers(store, "ci", "main")(fingerprint) for fingerprint in (RUN, PARENT))
    for name, why in (("gone", "the store has no build of it; it has: ci"), ("ci", "that is the recipe in use")):
        refused = CliRunner().invoke(app, ["gc", "--forget", name])
        assert refused.exit_code != 0 and why in str(refused.exception)


def test_how_much_the_grace_alone_keeps_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_STORE", str(store.root))
    monkeypatch.setenv("NEO_RECIPE", "ci")
    artifact(store, "matrix")
    printed = CliRunner().invoke(app, ["gc"]).output
    assert "nothing to remove" in printed
    assert (
        "2 folders or files that nothing needs were made or found again within the last 24 hours; --grace HOURS changes"
        " that" in printed
    )


def test_bytes_with_a_second_name_are_counted_once_and_only_where_all_their_names_go(store: Store) -> None:
    names = ("a", "b", "c")
    folders = [store.root / name for name in names]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "shared").write_bytes(b"x" * 1000)
    (folders[0] / "own").write_bytes(b"x" * 7)
    for folder in folders[1:]:
        (folder / "shared").hardlink_to(folders[0] / "shared")
    items = [Collectable("artifact", name, folder) for name, folder in zip(names, folders, strict=True)]
    assert freed(items) == [1007, 0, 0] and freed(items[:2]) == [7, 0] and freed(items[1:]) == [0, 0]


def test_a_job_over_files_keeps_what_it_makes_and_its_copy_of_the_code_until_it_is_gathered(store: Store) -> None:
    read = artifact(store, "documents/site")
    half = store.root / "clean_docs" / "en" / f"{PARTIAL}abc"
    half.mkdir(parents=True)
    copies = store.root / COPIES
    for name in ("used", "left"):
        (copies / name).mkdir(parents=True)
    job = JobFolder(store.root / "jobs" / ("d4" * 16))
    job.write_spec(
        JobSpec(
            work_fingerprint=job.fingerprint,
            title="clean_docs/en: judge shard",
            program="p",
            code={},
            libraries={},
            config={},
            inputs={"documents/site": store.relative(read.path)},
            out=store.relative(half),
            tasks=True,
            makes=["clean_docs/en/abc"],
        )
    )
    (job.path / "code").symlink_to(Path("../..") / COPIES / "used", target_is_directory=True)
    (job.path / "targets.json").write_text(json.dumps([store.relative(half / "part-00000.parquet")]))
    recipe = load("ci")

    def collected() -> set[str]:
        found, doubts, _ = collectable(store, recipe, LocalCompute(store.root))
        assert not doubts
        return {item.path.name for item in found if item.path.parent.name != "locks"}

    assert collected() == {"left"}  # nothing of it runs, and nobody has given it up
    (half / MANIFEST).write_text(read.path.joinpath(MANIFEST).read_text())
    half.rename(half.with_name("abc"))
    assert collected() >= {"left", "used", job.fingerprint}
