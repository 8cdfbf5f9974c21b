"""Starting from somebody else's model and tokenizer: what an export publishes can be trained on, and what does not fit
is named.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from neo_assets.build import stages
from neo_assets.core.errors import BadInput, JobFailed
from neo_assets.core.recipe import load
from neo_assets.core.remembered import remembered_digest
from neo_assets.core.store import Store
from neo_assets.runs.job import PretrainInput, find_start
from resources.compute.local import LocalCompute
from tests.training.runs import ROWS, checkpoint, small_job, small_run, write_shards
from training.foreign import content_digest, shape_differences, weight_files
from training.model import build_model
from training.spec import Start
from training.weights import master_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaForCausalLM

    trained = build_model(small_run().model, ROWS, seed=9)
    model = LlamaForCausalLM(trained.config)
    model.load_state_dict(trained.state_dict())
    made = tmp_path_factory.mktemp("model")
    model.save_pretrained(made)
    return made


@pytest.fixture
def compute(tmp_path: Path) -> Iterator[LocalCompute]:
    made = LocalCompute(tmp_path)
    yield made
    for job in (made.root / "jobs").glob("*"):
        made.stop(job.name, None)


def start_from(folder: Path) -> Start:
    return Start(folder=str(folder), digest=content_digest(folder), step=0, next_sample=0, take="weights", foreign=True)


def test_a_run_starts_from_the_folders_weights(compute: LocalCompute, folder: Path) -> None:
    job = small_job(compute.root, write_shards(compute.root / "shards"), "tuned", start=start_from(folder), steps=4)
    list(compute.follow(compute.submit(job)))
    theirs = {n: p.detach() for n, p in build_model(small_run().model, ROWS, seed=9).named_parameters()}
    first = master_weights(checkpoint(job, 0))
    assert all(torch.equal(theirs[n].bfloat16().float(), first[n]) for n in theirs)
    assert json.loads((checkpoint(job, 4) / "certificate.json").read_text())["origin"]["digest"] == content_digest(
        folder
    )


def test_a_folder_that_changed_since_is_refused(compute: LocalCompute, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    start = start_from(copy)
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(JobFailed, match="its files have changed since the run was asked for"):
        list(
            compute.follow(
                compute.submit(small_job(compute.root, write_shards(compute.root / "shards"), "changed", start=start))
            )
        )


def test_what_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    model = small_run().model
    assert shape_differences(folder, model, ROWS) == []
    assert shape_differences(folder, model.model_copy(update={"layers": 3}), ROWS + 64) == [
        "vocabulary rows is 512 there, 576 in the recipe",
        "layers is 2 there, 3 in the recipe",
    ]
    run = small_run(from_model=str(folder))
    with pytest.raises(
        BadInput, match=r"runs\.tuned\.from_model: .* is not this recipe's model: vocabulary rows is 512 there"
    ):
        find_start(PretrainInput(name="tuned", run=run, tokenizer=load("ci").tokenizer), {}, Store(tmp_path))
    with pytest.raises(BadInput, match=r"has no config\.json"):
        weight_files(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadInput, match="can run code"):
        weight_files(tmp_path)
    with pytest.raises(ValueError, match="not from both"):
        small_run(from_model="x", parent={"run": "main"})


def test_a_folders_identity_is_its_content(folder: Path, tmp_path: Path) -> None:
    """Two folders of the same shapes and other weights had one identity while only headers were hashed: the run of the
    one was reused for the other.
    """
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    recipe = load("ci")

    def version(place: Path) -> str:
        run = small_run(from_model=str(place))
        return stages(recipe.model_copy(update={"runs": {"main": run}}))["pretraining/main"].version

    assert version(copy) == version(folder)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    assert version(copy) != version(folder)
    assert content_digest(copy, remembered_digest) == content_digest(copy)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_act": "gelu"}, "activation is 'gelu' there, 'silu' in the recipe"),
        ({"attention_bias": True}, "attention bias is True there, False in the recipe"),
        ({"mlp_bias": True}, "bias in the feed-forward layers is True there, False in the recipe"),
        ({"tie_word_embeddings": True}, "tied embeddings is True there, False in the recipe"),
        ({"head_dim": 8}, "head_dim is 8 there, 32 in the recipe"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary scaling is 'linear' there, None in the recipe"),
        (
            {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "llama3", "factor": 8.0}},
            "rotary scaling is 'llama3' there, None in the recipe",
        ),
        ({"partial_rotary_factor": 0.5}, "share of a head that is rotated is 0.5 there, 1.0 in the recipe"),
    ],
)
def test_what_this_model_cannot_compute_is_refused_by_name(
    folder: Path, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | changes))
    assert told in shape_differences(copy, small_run().model, ROWS)
