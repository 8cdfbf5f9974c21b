"""The code of a release is held to what was run, where it can be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neo_assets.core.code import PYTHON, python_version, read_module
from neo_assets.core.fingerprint import digest_file
from neo_assets.core.manifest import MadeFrom, Manifest
from neo_assets.core.store import Workspace
from neo_assets.release.claims import CLAIMED, PROVEN, REFUTED, Bundle
from neo_assets.release.code import OTHER, code, compared, write_code

NAME = "neo_assets.dedup.exact_dedup"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_code(Workspace(tmp_path))
    certificate = tmp_path / "certificates/main/10/certificate.json"
    certificate.parent.mkdir(parents=True)
    told = {"run": "main", "step": 10, "code": {NAME: digest(tmp_path)}, "versions": {PYTHON: python_version()}}
    certificate.write_text(json.dumps(told))
    return tmp_path


def digest(folder: Path) -> str:
    return read_module(NAME, folder / "code").digest


def claim(folder: Path, digests: dict[str, str], python: str = "", other: list[str] | None = None) -> tuple[str, str]:
    libraries = {PYTHON: python or python_version()}
    made = Manifest(
        key="exact_dedup/en",
        fingerprint="f" * 32,
        digest="d",
        made_from=MadeFrom(config={}, code=digests, libraries=libraries, inputs={}),
        files={},
        seconds=0,
        created_at="",
    )
    (told,) = code(Bundle(folder, {}, {}, {OTHER: other or []}, {(made.key, made.fingerprint): made}))
    return told.verdict, told.detail


def test_what_was_run_is_there_and_another_is_named(folder: Path) -> None:
    mine = {NAME: read_module(NAME, folder / "code").counted, "stage": "neo_assets.dedup.exact_dedup.drop"}
    assert claim(folder, mine) == (PROVEN, "2 digests of modules and files")
    moved = {"neo_assets/evaluate/page/curves.js": digest_file(folder / "code/neo_assets/scores/page/curves.js")}
    assert claim(folder, moved) == (PROVEN, "2 digests of modules and files"), "under the name it is counted by"
    verdict, detail = claim(folder, {NAME: "0" * 32})
    assert verdict == REFUTED and f"{NAME} of exact_dedup/en ffffffffffff" in detail
    known = [f"{NAME} of exact_dedup/en ffffffffffff"]
    verdict, detail = claim(folder, {NAME: "0" * 32}, other=known)
    assert verdict == PROVEN and "made by an earlier version, whose code is not here: 1" in detail
    file = folder / "code/neo_assets/dedup/exact_dedup.py"
    file.write_text(file.read_text() + "\nEXTRA = 1\n")
    assert claim(folder, mine)[0] == REFUTED


def test_another_python_cannot_compare_and_says_so(folder: Path) -> None:
    verdict, detail = claim(folder, {NAME: "0" * 32}, python="2.7")
    assert verdict == CLAIMED and "exact_dedup/en ffffffffffff (Python 2.7)" in detail
    certificate = next(folder.rglob("certificate.json"))
    told = json.loads(certificate.read_text())
    certificate.write_text(json.dumps(told | {"versions": {PYTHON: "2.7"}, "code": {NAME: "0" * 32}}))
    assert compared(folder, []).other == [] and compared(folder, []).elsewhere == ["main@10 (Python 2.7)"]
