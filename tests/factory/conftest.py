"""One factory for all tests of this folder: the `ci` recipe, driven by `dagster job execute` as a person would."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from neo_assets.cli import main
from tests.factory.site import write_site

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Factory:
    """A store and a Dagster instance of their own, and the environment that selects them."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NEO_", "DAGSTER_"))}
        mine = {
            "NEO_RECIPE": "ci",
            "NEO_STORE": str(self.folder / "store"),
            "NEO_CI_SITE": str(self.folder / "site"),
            "DAGSTER_HOME": str(self.folder / "home"),
        }
        return {**kept, **mine, "PYTHONWARNINGS": "ignore", "CI": "true"}

    def run(
        self, *command: str, timeout: float = 1200, before: Sequence[str] = (), **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, sys.executable, "-m", *command],
            cwd=ROOT,
            env={**self.environment, **extra},
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def factory(self, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.run("dagster", "job", "execute", "-m", "definitions", "-j", "factory", **extra)

    def another_recipe(self, folder: Path, name: str, text: str) -> dict[str, str]:
        """Environment for a recipe that extends `ci`, in the same store, with a Dagster instance of its own as `neo
        home` makes it.
        """
        for base in ("ci", "laptop"):
            (folder / f"{base}.yaml").write_text((ROOT / "recipes" / f"{base}.yaml").read_text())
        recipe, home = folder / f"{name}.yaml", folder / "home"
        recipe.write_text("extends: ci\n" + text)
        write_instance(home)
        return {"NEO_RECIPE": str(recipe), "DAGSTER_HOME": str(home)}

    def neo(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """The command as typed, in this process: a second less each. What is set for an interpreter needs one of its
        own.
        """
        if any(name.startswith(("PYTHON", "LC_")) for name in extra):
            return self.run("neo_assets.cli", *arguments, **extra)
        out, err, code = io.StringIO(), io.StringIO(), 0
        kept = dict(os.environ)
        os.environ.clear()
        os.environ.update({**self.environment, **extra})
        try:
            with (
                contextlib.chdir(ROOT),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                unittest.mock.patch.object(sys, "argv", ["neo", *arguments]),
            ):
                main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        finally:
            os.environ.clear()
            os.environ.update(kept)
        return subprocess.CompletedProcess(["neo", *arguments], code, out.getvalue(), err.getvalue())


def write_instance(home: Path) -> None:
    home.mkdir()
    text = (ROOT / "dagster.yaml").read_text(encoding="utf-8").replace("base_dir: .dagster", f"base_dir: {home}")
    (home / "dagster.yaml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    made = Factory(tmp_path_factory.mktemp("factory"))
    write_instance(made.folder / "home")
    write_site(made.folder / "site")
    return made


@pytest.fixture(scope="session")
def first_run(factory: Factory) -> subprocess.CompletedProcess[str]:
    """The factory, run once from nothing."""
    done = factory.factory()
    assert done.returncode == 0, done.stderr[-6000:]
    return done


@pytest.fixture
def environment(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Factory:
    """This process sees the factory's recipe and store."""
    for name, value in factory.environment.items():
        if name.startswith(("NEO_", "DAGSTER_")):
            monkeypatch.setenv(name, value)
    return factory
