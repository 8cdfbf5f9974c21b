"""What is sent to the hub is what was signed, in the place where everybody looks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from neo_assets.release.push import NotPushed, push
from tests.release.hub import Hub

NAME = "somebody/a-model"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Of the two ways in which large files are sent, it knows LFS alone."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    for name, text in (
        (
            "weights/README.md",
            '---\nlicense: apache-2.0\n---\n[7](../manifests/a.json) layers, pipeline("text-generation", "weights")',
        ),
        ("weights/config.json", "{}"),
        ("weights/model.safetensors", "weights"),
        ("weights/.eval_results/mmlu.yaml", "- value: 1"),
        ("manifests/a.json", '{"layers": 7}'),
        ("SHA256SUMS", "sums"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def sent(hub: Hub, bundle: Path, revisions: dict[str, Path], public: bool = False) -> str:
    return push(bundle, NAME, revisions, public, lambda _: None, HfApi(endpoint=hub.address, token="hf_secret"))


def test_the_model_is_at_the_root_and_the_bundle_is_whole(hub: Hub, bundle: Path) -> None:
    assert sent(hub, bundle, {}) == f"{hub.address}/{NAME}"
    files = hub.repositories[NAME]["main"]
    assert files["config.json"] == b"{}" and files["model.safetensors"] == b"weights"
    assert files[".eval_results/mmlu.yaml"] == b"- value: 1"
    for path in bundle.rglob("*"):
        if path.is_file():
            assert files[f"release/{path.relative_to(bundle).as_posix()}"] == path.read_bytes()
    card = files["README.md"].decode()
    assert "[7](release/manifests/a.json) layers" in card, "the card's links lead into the bundle"
    assert f'pipeline("text-generation", "{NAME}")' in card
    assert hub.uploads == 1, "weights that are there twice are sent once"
    assert hub.private[NAME]
    assert hub.tokens == {"Bearer hf_secret"}


def test_each_checkpoint_is_a_revision_with_its_own_files_alone(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    for name in ("config.json", "model.safetensors", "README.md", "manifest.json"):
        (export / name).write_text(f"---\nlibrary_name: transformers\n---\n{name} of a checkpoint")
    sent(hub, bundle, {"main-step0000010-tokens40960": export}, public=True)
    there = hub.repositories[NAME]
    assert sorted(there) == ["main", "main-step0000010-tokens40960"] and not hub.private[NAME]
    assert sorted(there["main-step0000010-tokens40960"]) == ["README.md", "config.json", "model.safetensors"]
    assert there["main"]["config.json"] == b"{}"
    assert there["main-step0000010-tokens40960"]["README.md"].startswith(b"---\nlicense: apache-2.0\nlibrary_name")


def test_what_an_earlier_release_had_is_gone_from_the_newest(hub: Hub, bundle: Path) -> None:
    sent(hub, bundle, {})
    (bundle / "manifests/a.json").unlink()
    (bundle / "manifests/b.json").write_text("{}")
    sent(hub, bundle, {})
    files = hub.repositories[NAME]["main"]
    assert "release/manifests/b.json" in files and "release/manifests/a.json" not in files


@pytest.mark.parametrize("name", ["config.json", "release/weights/model.safetensors"])
def test_a_hub_that_has_other_bytes_is_noticed(hub: Hub, bundle: Path, name: str) -> None:
    hub.spoils = name
    with pytest.raises(NotPushed, match=f"does not have what was sent: {name}"):
        sent(hub, bundle, {})
