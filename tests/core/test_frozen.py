"""What runs is what is claimed: a job's own copy of its code, and what a process is held to before it does anything."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from neo_assets.core import code as walk
from neo_assets.core import frozen
from neo_assets.core.code import all_modules, module_file
from neo_assets.core.errors import ChangedCode
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.frozen import CODE, claimed, differing, freeze, held_to, running
from neo_assets.core.jobs import JobFolder, JobSpec
from tests.resources import sleeper
from tests.training.folders import run_program

PROGRAM = "tests.resources.sleeper"


def job(root: Path, **changes: object) -> JobFolder:
    folder = JobFolder(root / "jobs" / "x")
    spec = JobSpec(
        work_fingerprint="x", title="t", program=PROGRAM, **claimed(PROGRAM), config={}, inputs={}, out="out"
    )
    folder.write_spec(spec.model_copy(update=changes))
    return folder


def test_the_copy_holds_what_the_program_can_reach_and_nothing_else(tmp_path: Path) -> None:
    folder = job(tmp_path)
    folder.freeze()
    asked = folder.spec().code
    assert {PROGRAM, "tests", "training.control", "neo_assets.core.jobs", "neo_assets.core.launch"} <= set(asked)
    assert "training.pretrain" not in asked
    files = {p.relative_to(folder.path / CODE).as_posix() for p in (folder.path / CODE).rglob("*") if p.is_file()}
    assert files == {p.relative_to(ROOT).as_posix() for n in asked if (p := walk.module_file(n, ROOT))}
    assert not differing(asked, folder.path / CODE)


def test_a_copy_that_is_not_whole_is_made_again_only_of_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(tmp_path)
    folder.freeze()
    damaged = folder.path / CODE / "training" / "control.py"
    damaged.write_text("x = 1\n")
    folder.freeze()
    assert damaged.read_text() == (ROOT / "training" / "control.py").read_text()
    damaged.unlink()
    with pytest.raises(ChangedCode, match=r"training\.control has changed"):
        freeze({**folder.spec().code, "training.control": "of another time"}, folder.path / CODE)


def test_code_that_was_edited_between_loading_and_asking_is_not_run(tmp_path: Path) -> None:
    folder = job(tmp_path, code={**claimed(PROGRAM)["code"], "training.control": "as this process had read it"})
    with pytest.raises(ChangedCode, match=r"training\.control has changed.*was not made yet"):
        folder.freeze()
    assert not (folder.path / CODE).exists()


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("numpy", "0.1", "numpy was 0.1, is "),
        ("python", "2.7", "python was 2.7, is 3."),
        ("no-such-thing", "1", "is not installed here"),
    ],
)
def test_other_libraries_or_python_are_refused_before_anything_is_done(
    tmp_path: Path, name: str, version: str, told: str
) -> None:
    folder = job(tmp_path, libraries={**claimed(PROGRAM)["libraries"], name: version})
    done = run_program(folder.path / "spec.json")
    assert done.returncode == 78
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
    assert told in str(folder.refused(0))
    assert not (tmp_path / "out").exists()


def test_modules_that_come_from_elsewhere_are_refused(tmp_path: Path) -> None:
    folder = job(tmp_path)
    folder.freeze()
    asked = claimed(PROGRAM)
    with pytest.raises(ChangedCode, match="not from the job's own copy"):
        running(asked, folder.path / CODE)
    done = subprocess.run(
        [sys.executable, "-m", "neo_assets.core.launch", str(folder.path / "spec.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78 and "not from the job's own copy" in done.stderr


def test_a_worker_that_would_run_other_code_refuses(tmp_path: Path) -> None:
    from neo_assets.core.shard_step import ShardStep

    step = ShardStep(partial(print, sleeper.main), ["a shard"], tmp_path / "spent.txt")
    list(step.run())
    step.asked = step.asked.replace(claimed(PROGRAM)["code"]["training.control"], "0" * 32)
    with pytest.raises(ChangedCode, match=r"training\.control has changed"):
        list(step.run())


def test_what_a_process_is_held_to_is_what_it_asks_itself() -> None:
    asked = claimed("training.pretrain", "training.evaluate")
    assert held_to(asked) == asked


def test_a_module_edited_after_it_was_read_and_before_it_was_imported_spoils_what_a_stage_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").mkdir()
    for name in ("__init__", "early", "late", "unused"):
        (tmp_path / "training" / f"{name}.py").write_text("X = 1\n")
    names = ["training.early", "training.late", "training.unused"]
    monkeypatch.setattr(walk, "ROOT", tmp_path)
    monkeypatch.setattr(walk, "STARTED", 2**62)
    monkeypatch.setitem(sys.modules, "training.early", sleeper)
    walk.module.cache_clear()
    try:
        for name in names:
            walk.module(name)
        monkeypatch.setitem(sys.modules, "training.late", sleeper)
        frozen.refuse_what_was_edited(names)
        (tmp_path / "training" / "early.py").write_text("X = 22\n")  # imported before it was read: may be edited
        (tmp_path / "training" / "unused.py").write_text("X = 22\n")
        (tmp_path / "training" / "late.py").write_text("# only a comment\nX = 1\n")
        frozen.refuse_what_was_edited(names)
        (tmp_path / "training" / "late.py").write_text("X = 22\n")
        with pytest.raises(ChangedCode, match=r"\(training\.late was edited\)"):
            frozen.refuse_what_was_edited(names)
    finally:
        walk.module.cache_clear()


def test_no_module_of_ours_is_ignored_by_git() -> None:
    """A folder's name that `.gitignore` knows would take a module out of every fresh clone."""
    files = [str(module_file(name, ROOT)) for name in all_modules()]
    asked = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode == 128:
        pytest.skip("this is no git checkout")
    assert asked.stdout == ""
