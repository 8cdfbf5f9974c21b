"""What a source is, is known by its place, terms and snapshot, and not by where it lies on this machine."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from sites import upstream

from neo_assets.core.errors import BadInput, MachineLacks
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe.sources import HtmlFolderSource, Source
from neo_assets.core.store import Outcome, Workspace
from neo_assets.crawl import demo_site
from neo_assets.crawl.catalogue import (
    SourceInput,
    describe_source,
    read_source_input,
    refuse_changed_files,
    source_input,
)


def describe(folder: Path, out: Path, **fields: object) -> Outcome:
    out.mkdir(parents=True)
    config = {
        "kind": "html_folder",
        "path": str(folder),
        "host": "a.example",
        "licence": "MPL-2.0",
        "snapshot": "1",
        **fields,
    }
    return describe_source(read_source_input(HtmlFolderSource.model_validate(config)), {}, Workspace(out))


def test_the_catalogue_quotes_the_terms_and_no_path_of_this_machine(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "pages").mkdir(parents=True)
        (tmp_path / place / "terms").write_text("You may.")
    digests = {
        describe(tmp_path / p / "pages", tmp_path / p / "out", licence_file=str(tmp_path / p / "terms")).digest
        for p in ("here", "there")
    }
    assert len(digests) == 1
    text = (tmp_path / "here/out/catalogue.json").read_text()
    assert json.loads(text)["terms"] == "You may." and str(tmp_path) not in text


def test_a_new_snapshot_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    assert (
        describe(tmp_path / "pages", tmp_path / "a").digest
        != describe(tmp_path / "pages", tmp_path / "b", snapshot="2").digest
    )


@pytest.mark.parametrize("kind", ["documents", "warc", "html_folder"])
def test_files_on_this_machine_count_by_their_content(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.html").write_text("one")
    place = (
        {"path": str(tmp_path), "host": "a.example"} if kind == "html_folder" else {"paths": [str(tmp_path / "*.html")]}
    )
    source = TypeAdapter(Source).validate_python({"kind": kind, "licence": "CC0-1.0", "snapshot": "1", **place})
    seen = [source_input(source)]
    assert seen[0] == source_input(source) == read_source_input(source)
    (tmp_path / "b.html").write_text("two")  # added
    seen.append(source_input(source))
    (tmp_path / "b.html").write_text("owt")  # changed, as long as before
    seen.append(source_input(source))
    (tmp_path / "b.html").rename(tmp_path / "c.html")  # renamed
    seen.append(source_input(source))
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])
    (catalogue,) = upstream(source).values()
    refuse_changed_files(source, catalogue)
    (tmp_path / "a.html").write_text("ONE")
    with pytest.raises(BadInput, match="is not what sources/test describes"):
        refuse_changed_files(source, catalogue)


@pytest.mark.parametrize("kind", ["documents", "warc", "html_folder"])
def test_a_relative_path_is_of_the_repository_wherever_it_is_asked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = (
        {"path": "recipes", "host": "a.example", "include": ["*.yaml"]}
        if kind == "html_folder"
        else {"paths": ["recipes/*.yaml"]}
    )
    said = {"kind": kind, "licence": "CC0-1.0", "licence_file": "LICENSE", "snapshot": "1", **place}
    source = TypeAdapter(Source).validate_python(said)
    seen: list[tuple[SourceInput, str]] = []
    for folder in (ROOT, tmp_path):
        monkeypatch.chdir(folder)
        (tmp_path / f"out{len(seen)}").mkdir()
        described = describe_source(read_source_input(source), {}, Workspace(tmp_path / f"out{len(seen)}"))
        seen.append((source_input(source), described.digest))
    assert seen[0] == seen[1] and seen[0][0].content


def test_a_missing_folder_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"make demo.*path.*kind: crawl"):
        describe(tmp_path / "nowhere", tmp_path / "out")


def test_missing_terms_are_told_and_refuse_nothing(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    outcome = describe(tmp_path / "pages", tmp_path / "out", licence_file=str(tmp_path / "no-terms"))
    (check,) = [c for c in outcome.checks if not c.passed]
    assert not check.blocking and "no-terms" in check.detail


def test_a_machine_without_apt_is_told_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineLacks, match=r"apt-get.*kind: html_folder.*kind: crawl"):
        demo_site.fetch_demo_site(tmp_path / "demo")


def test_a_fetched_demo_site_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"some-doc": {"usr/share/doc/some-doc": "some/html"}}
    (tmp_path / "some/html").mkdir(parents=True)
    (tmp_path / "demo-site.json").write_text('{"some-doc": "1.0"}')
    monkeypatch.setenv("PATH", "")
    assert demo_site.fetch_demo_site(tmp_path, packages) == tmp_path
