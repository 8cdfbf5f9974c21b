"""A store that others share or may only read, a repository with a name of its own, a terminal that knows no Chinese."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from neo_assets.core.place import share_with_group
from neo_assets.core.store import MadeFrom, Outcome, Store
from tests.factory.conftest import ROOT, Factory

GROUP, FIRST, SECOND, STRANGER = 54321, 54322, 54323, 54324
NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several people")


def as_somebody(user: int, group: int, work: Callable[[], object], groups: tuple[int, ...] = ()) -> str:
    """Run ``work`` as another user, under the usual umask, in a process of its own; returns what went wrong, "" if
    nothing.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = ""
        try:
            os.setgroups(list(groups))
            os.setgid(group)
            os.setuid(user)
            os.umask(0o022)
            work()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return told


def build(root: Path, n: int) -> None:
    def work(out) -> Outcome:  # type: ignore[no-untyped-def]
        out.write_text("a.txt", str(n))
        return Outcome(digest=str(n))

    store = Store(root)
    made, _ = store.build("group/thing", MadeFrom(config={"n": n}, code={}, libraries={}, inputs={}), work)
    store.set_head("recipe", "group/thing", "group/thing", made.fingerprint)


@NOT_ROOT
def test_a_second_person_of_the_group_builds_beside_the_first_under_the_usual_umask(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o011)
    root = tmp_path / "store"
    root.mkdir()
    os.chown(root, FIRST, GROUP)
    root.chmod(0o2775)
    assert as_somebody(FIRST, FIRST, lambda: build(root, 1), (GROUP,)) == ""
    assert as_somebody(SECOND, SECOND, lambda: build(root, 1), (GROUP,)) == ""  # found
    assert as_somebody(SECOND, SECOND, lambda: build(root, 2), (GROUP,)) == ""  # made
    assert as_somebody(FIRST, FIRST, lambda: build(root, 3), (GROUP,)) == ""
    assert "PermissionError" in as_somebody(STRANGER, STRANGER, lambda: build(root, 4))


@NOT_ROOT
def test_who_may_only_read_finds_what_is_there_without_a_lock(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o011)
    root = tmp_path / "store"
    root.mkdir()
    build(root, 1)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)

    def find() -> None:
        made, reused = Store(root).build(
            "group/thing", MadeFrom(config={"n": 1}, code={}, libraries={}, inputs={}), lambda out: pytest.fail("made")
        )
        assert reused and not Store(root).being_written("group/thing", made.fingerprint)
        assert list(Store(root).at_work()) == []

    assert as_somebody(STRANGER, STRANGER, find) == ""


def test_only_a_folder_that_says_so_is_shared(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for rights, mask in ((0o755, 0o022), (0o2775, 0o002)):
            tmp_path.chmod(rights)
            os.umask(0o022)
            share_with_group(tmp_path)
            assert os.umask(0o022) == mask
    finally:
        os.umask(before)
        tmp_path.chmod(0o700)


READING = [
    "verify --deep",
    "verify main@10",
    "fate http://site.example/short.html",
    "funnel",
    "jobs --all",
    "scores",
    "summary",
    "why matrix",
    "gc",
    "saw main@3",
    "plan",
]


@NOT_ROOT
@pytest.mark.parametrize("command", READING)
def test_a_stranger_may_use_every_reading_command(
    first_run: subprocess.CompletedProcess[str], environment: Factory, command: str
) -> None:
    from typer.testing import CliRunner

    from neo_assets.cli import app
    from neo_assets.core.recipe import load

    load()
    # All that the command imports is imported here: an interpreter may lie where another user cannot read it.
    CliRunner().invoke(app, command.split())
    closed = [
        p
        for p in (environment.folder, *environment.folder.parents)
        if str(p).startswith(tempfile.gettempdir()) and p.stat().st_uid == os.getuid()
    ]
    for path in closed:
        path.chmod(path.stat().st_mode | 0o011)

    def use() -> None:
        done = CliRunner().invoke(app, command.split())
        assert done.exit_code == 0, f"{done.output} {done.exception!r}"

    assert as_somebody(STRANGER, STRANGER, use) == ""


def test_an_instance_is_found_from_anywhere_whatever_the_repository_is_called(tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout with 空格"
    checkout.mkdir()
    for name in ("neo_assets", "resources", "training", "recipes", "definitions.py", "dagster.yaml"):
        (checkout / name).symlink_to(ROOT / name)
    script = (
        f"import sys; sys.path.insert(0, {str(checkout)!r}); from neo_assets.core import fingerprint as f, place as p;"
        f" from pathlib import Path; f.ROOT = p.ROOT = Path({str(checkout)!r})\n"
    )
    script += (
        "from neo_assets.house import factory as c; c.ROOT = f.ROOT; from neo_assets.cli import main; sys.argv ="
        " ['neo', 'home', 'ci']; main()"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    said = subprocess.run(
        ["sh", "-c", f'{done.stdout}\nprintf "%s" "$DAGSTER_HOME"'], capture_output=True, text=True, check=True
    ).stdout
    assert said == str(checkout / ".neo" / "home" / "ci") and shlex.split(done.stdout)[1] == "NEO_RECIPE=ci"
    look = (
        "import dagster as dg; i = dg.DagsterInstance.get(); print(i.run_storage._base_dir if hasattr(i.run_storage,"
        " '_base_dir') else i.root_directory); print(i.get_runs_count())"
    )
    for place in (tmp_path, checkout):
        found = subprocess.run(
            [sys.executable, "-c", look],
            cwd=place,
            env={**environment, "DAGSTER_HOME": said},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0 and str(checkout) in found.stdout, found.stderr[-2000:]
    assert not (tmp_path / ".dagster").exists()


def test_definitions_are_not_loaded_where_an_empty_instance_would_be_made(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))} | {
        "DAGSTER_HOME": str(ROOT),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", "import definitions"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and 'from anywhere: eval "$(neo home)"' in done.stderr


def test_a_terminal_that_knows_no_chinese_shows_question_marks_and_no_traceback(
    first_run: subprocess.CompletedProcess[str], factory: Factory
) -> None:
    done = factory.neo("sample", "min_words", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    told = factory.neo("fate", "没有这一页", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert told.returncode == 2 and "?" in told.stderr and "Traceback" not in told.stderr
