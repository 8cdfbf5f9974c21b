"""The whole factory on object storage: made once, and there for every disk that asks, as far as it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core.objects import Objects
from neo_assets.core.store import Store
from tests.factory.conftest import Factory, write_instance
from tests.factory.site import write_site
from tests.servers import S3

URL = f"{S3.BUCKET}/factory"


class OnObjects(Factory):
    """A factory whose store is on object storage, worked on from the disk of the name that a call gives."""

    def on(self, disk: str, server: S3) -> dict[str, str]:
        home = self.folder / f"home-{disk}"
        if not home.exists():
            write_instance(home)
        asked = {name: value for name, value in server.env.items() if name.startswith("AWS_")}
        return {**asked, "NEO_STORE": URL, "NEO_STORE_DISK": str(self.folder / disk), "DAGSTER_HOME": str(home)}


@pytest.fixture(scope="module")
def made(s3_server: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnObjects]:
    factory = OnObjects(tmp_path_factory.mktemp("objects"))
    write_site(factory.folder / "site")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in factory.on("first", s3_server).items():
            patched.setenv(name, value)
        done = factory.factory(**factory.on("first", s3_server))
        assert done.returncode == 0, done.stderr[-6000:]
        yield factory


def test_a_second_disk_makes_nothing_again_and_brings_what_it_reads(made: OnObjects, s3_server: S3) -> None:
    done = made.factory(**made.on("second", s3_server))
    assert done.returncode == 0, done.stderr[-6000:]
    assert " made in " not in done.stderr
    first, second = (list(files(made.folder / name)) for name in ("first", "second"))
    assert 0 < sum(p.stat().st_size for p in second) < sum(p.stat().st_size for p in first) / 2
    assert not any(p.suffix == ".pt" for p in second)  # no checkpoint was needed


def test_everything_is_held_to_its_digests_where_it_lies(made: OnObjects, s3_server: S3) -> None:
    third = made.on("third", s3_server)
    done = made.run("neo_assets.cli", "verify", "--deep", **third)
    assert done.returncode == 0 and ", 0 problems" in done.stdout, done.stdout + done.stderr
    objects = Objects(URL)
    place = next(o.name for o in objects.list("artifacts/checkpoint/main/") if o.name.endswith("optim_states.pt"))
    read = objects.read(place)
    assert read is not None
    objects.put(place, read.data[:-5] + bytes([read.data[-5] ^ 1]) + read.data[-4:])
    done = made.run("neo_assets.cli", "verify", "--deep", **third)
    assert done.returncode == 1 and f"{URL}: {place}, a file of checkpoint/main, does not hash" in done.stderr
    objects.put(place, read.data)


@pytest.mark.parametrize(
    "command",
    ["sample min_words", "whatif clean.en.min_words=20", "fate http://site.example/short.html", "scores"],
)
def test_commands_read_what_another_disk_has_made(made: OnObjects, s3_server: S3, command: str) -> None:
    done = made.neo(*command.split(), **made.on("fifth", s3_server))
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr


def test_a_model_that_another_disk_has_exported_writes_here(made: OnObjects, s3_server: S3) -> None:
    done = made.run("neo_assets.cli", "generate", "main@20", "hello", "--json", **made.on("sixth", s3_server))
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_recipe_on_another_disk_makes_what_differs_from_what_it_brings(
    made: OnObjects, s3_server: S3, tmp_path: Path
) -> None:
    here = made.on("seventh", s3_server)
    changed = made.another_recipe(
        tmp_path, "other", "name: other\nclean: {en: {min_words: 21}}\nheldout: {share: 0.3}\n"
    )
    select = "*train_pool,*token_shards_fundamental"
    command = ("dagster", "asset", "materialize", "-m", "definitions", "--select", select)
    done = made.run(*command, **(here | changed))
    assert done.returncode == 0, done.stderr[-6000:]
    store = Store(made.folder / "seventh")
    before, now = store.heads("ci"), store.heads("other")
    differs = {name for name in now if before.get(name) != now[name]}
    assert {"clean_docs/en", "heldout", "token_shards/fundamental"} <= differs
    assert not any(name.startswith(("raw_crawl/", "page_text/", "documents/", "signals/")) for name in differs)


def test_what_was_trained_elsewhere_is_proved_here(made: OnObjects, s3_server: S3) -> None:
    done = made.run("neo_assets.cli", "prove", "main@10", **made.on("fourth", s3_server))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proved: bit for bit what its certificate says; code, libraries and machine as then" in done.stdout


def files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file())
