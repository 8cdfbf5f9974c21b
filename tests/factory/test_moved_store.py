"""A store is a folder that may move: copied, with the original gone, it answers every question about itself, and about
nothing else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neo_assets.core.store import Store
from tests.factory.conftest import Factory

MAY_NAME_PLACES = ("log.txt", ".log", ".pyc")
"""Files that say what happened where: what a program printed."""


@pytest.fixture(scope="module")
def moved(
    first_run: subprocess.CompletedProcess[str], factory: Factory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    done = (
        factory.factory()
    )  # other tests have made other recipes' artifacts in the same store: this recipe's own build is today's again
    assert done.returncode == 0, done.stderr[-4000:]
    original, hidden, copy = (
        factory.folder / "store",
        factory.folder / "hidden",
        tmp_path_factory.mktemp("elsewhere") / "store",
    )
    shutil.copytree(original, copy)
    original.rename(hidden)
    yield copy
    hidden.rename(original)


@pytest.fixture
def here(moved: Path, factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process sees the moved store."""
    for name, value in factory.environment.items():
        if name.startswith(("NEO_", "DAGSTER_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEO_STORE", str(moved))
    return moved


def neo(*arguments: str) -> tuple[int, str]:
    """A `neo` command in this process: exit code, and all it printed."""
    from neo_assets.cli import app
    from neo_assets.core.errors import NeoError

    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, NeoError):
        return 2, f"{done.output}neo: {done.exception}"
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_nothing_that_is_written_down_names_the_place_of_the_store(moved: Path, factory: Factory) -> None:
    place = str(factory.folder / "store").encode()
    named = [
        p.relative_to(moved).as_posix()
        for p in moved.rglob("*")
        if p.is_file() and not p.name.endswith(MAY_NAME_PLACES) and place in p.read_bytes()
    ]
    assert named == []


@pytest.mark.parametrize(
    "command",
    [
        "verify --deep",
        "verify main@10",
        "verify decay@last",
        "saw main@3..4",
        "when http://en.example/story001.html",
        "fate http://site.example/short.html",
        "funnel",
        "sample min_words",
        "whatif clean.en.min_words=350",
        "why pretraining/main",
        "jobs --all",
        "logs main",
        "scores",
        "tasks",
        "summary",
        "plan",
        "gc",
    ],
)
def test_every_command_answers(here: Path, factory: Factory, command: str) -> None:
    code, printed = neo(*command.split())
    assert code == 0, printed
    assert str(factory.folder / "store") not in printed or command.startswith("logs")


def test_what_was_made_is_found_and_proved_again(here: Path, factory: Factory) -> None:
    done = factory.factory(NEO_STORE=str(here))
    assert done.returncode == 0, done.stderr[-4000:]
    assert " made in " not in done.stderr
    code, printed = neo("prove", "main@10")
    assert code == 0 and "proved: bit for bit what its certificate says; code, libraries and machine as then" in printed


KINDS = {
    "checkpoint/main/0000010-*/state/*model_states.pt": "main@10",
    "checkpoint/main/0000010-*/state/*optim_states.pt": "main@10",
    "checkpoint/main/0000010-*/rng/rank0.pt": "main@10",
    "checkpoint/main/0000010-*/metrics.parquet": "main@10",
    "checkpoint/main/0000010-*/certificate.json": "main@10",
    "checkpoint/main/0000010-*/manifest.json": "main@10",
    "clean_docs/zh/*/manifest.json": None,
    "clean_docs/zh/*/verdict.json": None,
    "token_shards/fundamental/*/tokens/*.bin": "main@10",
    "token_shards/fundamental/*/offsets.npy": "main@10",
    "hf_model/main/*/model.safetensors": None,
    "tokenizer/*/hf/tokenizer.json": None,
    "raw_crawl/handbook/*/warc/*.warc.gz": None,
    "clean_docs/en/*/part-*.parquet": None,
    "near_dedup/en/*/verdicts/part-*.parquet": None,
    "eval_scores/main/*/*.items.jsonl": None,
    "pretraining/main/*/metrics.parquet": None,
    "factory_report/*/report.html": None,
}
"""A file of each kind, and the checkpoint whose claims rest on it."""


def of_this_build(here: Path, file: Path) -> bool:
    """Whether a file is the recipe's own: other tests leave runs of other recipes in the same store."""
    from neo_assets.core.recipe import load
    from neo_assets.house.heads import checkpoints, current_heads, scores

    store, recipe = Store(here), load("ci")
    heads = current_heads(recipe, store).values()
    runs = {fingerprint for key, fingerprint in heads if key.startswith("pretraining/")}
    folders = {store.folder(*head) for head in heads} | {
        folder for _, folder in [*checkpoints(store, runs), *scores(store, recipe)]
    }
    return any(folder in folders for folder in file.parents)


@pytest.mark.parametrize("pattern", KINDS)
def test_one_flipped_byte_in_a_file_of_any_kind_is_found_here_and_named(here: Path, pattern: str) -> None:
    file = max((p for p in here.glob(pattern) if of_this_build(here, p)), key=lambda p: p.stat().st_size)
    before = file.read_bytes()
    place = len(before) // 2
    file.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
    try:
        code, printed = neo("verify", "--deep")
        assert code == 1 and file.name in printed
        if (checkpoint := KINDS[pattern]) is not None:
            code, printed = neo("verify", checkpoint, "--json")
            rows = json.loads(printed)
            assert code == 1 and any(not row["holds"] for row in rows), rows
    finally:
        file.write_bytes(before)


def test_a_checkpoint_whose_origin_is_gone_is_told_in_a_line(here: Path) -> None:
    store = Store(here)
    (origin,) = (p.parent for p in here.glob("checkpoint/main/0000020-*/manifest.json") if of_this_build(here, p))
    aside = origin.with_name("aside")
    origin.rename(aside)
    try:
        code, printed = neo("verify", "decay@last", "--json")
        claim = next(row for row in json.loads(printed) if row["claim"] == "the checkpoint it started from")
        assert code == 1 and not claim["holds"] and "is not there" in claim["detail"]
    finally:
        aside.rename(origin)
    assert store.root == here
