"""The exported folder is the trained model: same bits, same logits, for every ZeRO stage; and a wrong one is not let
through.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neo_assets.core.fingerprint import ROOT, digest_file
from tests.training.folders import ROWS, SHAPE, running, save_tokenizer, write_spec
from training import export

CASES = ["0-bf16", "1-bf16", "1-fp32", "3-bf16"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    program = Path(__file__).with_name("one_checkpoint.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder), SHAPE.model_dump_json(), str(ROWS), *CASES],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    save_tokenizer(folder / "tokenizer")
    return folder


def _export(checkpoints: Path, case: str, job: Path, **changes: object) -> Path:
    config = {"model": SHAPE.model_dump(), "vocab_rows": ROWS, "tag": "state", "threads": 1} | changes
    spec = write_spec(
        job, "training.export", config, {"checkpoint": checkpoints / case, "tokenizer": checkpoints / "tokenizer"}
    )
    export.export(running(spec))
    return job / "out"


@pytest.mark.parametrize("case", CASES)
def test_an_exported_folder_gives_the_checkpoints_logits_to_the_last_bit(
    checkpoints: Path, tmp_path: Path, case: str
) -> None:
    out = _export(checkpoints, case, tmp_path)
    parity = json.loads((out / "parity.json").read_text())
    assert parity["max_abs_logit_difference"] == 0
    assert parity["tensors_differing"] == 0
    assert {p.name for p in out.iterdir()} >= {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.bfloat16}


def test_a_bf16_runs_export_is_the_engines_own_weights(checkpoints: Path, tmp_path: Path) -> None:
    out = _export(checkpoints, "1-bf16", tmp_path)
    own = torch.load(checkpoints / "1-bf16" / "state" / "mp_rank_00_model_states.pt", weights_only=False)["module"]
    exported = load_file(out / "model.safetensors")
    assert own.keys() == exported.keys()
    assert all(torch.equal(own[name], exported[name]) for name in own)


def test_anybody_can_load_and_generate(checkpoints: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = _export(checkpoints, "1-bf16", tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.eos_token_id == tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert model.generation_config.use_cache
    told = json.loads((out / "config.json").read_text())
    assert (
        told["rope_theta"] == told["rope_parameters"]["rope_theta"] == SHAPE.rope_theta
        and told["torch_dtype"] == told["dtype"] == "bfloat16"
    )  # transformers 4 reads the first of each
    assert tokenizer.model_max_length == SHAPE.context
    ids = tokenizer("你好, world", return_tensors="pt").input_ids
    assert model.generate(input_ids=ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]


def test_exporting_twice_writes_the_same_bytes(checkpoints: Path, tmp_path: Path) -> None:
    first, second = _export(checkpoints, "1-bf16", tmp_path / "a"), _export(checkpoints, "1-bf16", tmp_path / "b")
    assert {p.name: digest_file(p) for p in first.iterdir()} == {p.name: digest_file(p) for p in second.iterdir()}


@pytest.mark.parametrize("harm", ["weight", "config"])
def test_a_folder_that_is_not_the_trained_model_is_refused(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    measure = export.measure_parity

    def after_harm(
        config: export.ExportConfig, checkpoint: Path, masters: dict[str, torch.Tensor], out: Path
    ) -> dict[str, object]:
        if harm == "weight":
            weights = load_file(out / "model.safetensors")
            weights["model.norm.weight"][0] *= 1.01
            save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        else:
            content = json.loads((out / "config.json").read_text())
            content["rope_parameters"]["rope_theta"] = 500.0
            (out / "config.json").write_text(json.dumps(content))
        return measure(config, checkpoint, masters, out)

    monkeypatch.setattr(export, "measure_parity", after_harm)
    with pytest.raises(SystemExit, match="parity failed"):
        _export(checkpoints, "1-bf16", tmp_path)
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["max_abs_logit_difference"] > 0


def test_a_missing_state_and_a_foreign_tokenizer_are_named(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere is not there"):
        _export(checkpoints, "1-bf16", tmp_path / "a", tag="nowhere")
    with pytest.raises(SystemExit, match="257 tokens, the model 256 embedding rows"):
        _export(checkpoints, "1-bf16", tmp_path / "b", vocab_rows=256)
