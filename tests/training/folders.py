"""A tiny tokenizer, a tiny model folder and a job spec, for the tests of the programs that read them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from neo_assets.core.frozen import CODE, LAUNCH, Claimed, claimed
from neo_assets.core.jobs import JobFolder, JobSpec, RunningJob
from neo_assets.core.recipe.run import Model
from training.tasks import read_tasks, task_identity

SHAPE = Model(
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=1,
    head_dim=16,
    ffn=128,
    context=128,
    rope_theta=10_000,
    norm_eps=1e-5,
    init_std=0.02,
    vocab_multiple=64,
)
ROWS = 320


def save_tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer of 256 bytes and one special token, as Hugging Face files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>").save_pretrained(folder)
    return folder


def save_model(folder: Path, shape: Model = SHAPE, rows: int = ROWS) -> Path:
    """A freshly initialised model with its tokenizer, as a Hugging Face folder."""
    import torch
    from transformers import LlamaForCausalLM

    from training.document_start import DOCUMENT_START, NOTHING
    from training.model import build_model

    trained = build_model(shape, rows, seed=1)
    model = LlamaForCausalLM(trained.config)
    model.load_state_dict(trained.state_dict())
    model.generation_config.use_cache = True
    setattr(model.config, DOCUMENT_START, NOTHING)
    model.to(torch.float32).save_pretrained(folder)
    return save_tokenizer(folder)


def write_spec(folder: Path, program: str, config: dict[str, object], inputs: dict[str, Path]) -> Path:
    """A job folder's ``spec.json``; the job writes into ``‹folder›/out``."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: str(place) for name, place in inputs.items()}
    spec = JobSpec(
        work_fingerprint="test",
        title="test",
        program=program,
        **claimed(program),
        config=config,
        inputs=given,
        out=str(folder / "out"),
    )
    (folder / "spec.json").write_text(spec.model_dump_json(), encoding="utf-8")
    return folder / "spec.json"


def run_program(spec: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a job's program from its own copy of the code, as a backend does."""
    command, place = command_of(spec)
    given = {**os.environ, "PYTHONPATH": str(place), **environment}
    return subprocess.run(command, cwd=place, env=given, capture_output=True, text=True, timeout=300)


def command_of(spec: Path) -> tuple[list[str], Path]:
    """The command that runs a job, and the working directory it is run in."""
    folder = JobFolder(spec.parent)
    (folder.path / "attempts").mkdir(exist_ok=True)
    folder.freeze()
    return [sys.executable, "-m", LAUNCH, str(spec)], folder.path / CODE


def running(spec: Path) -> RunningJob:
    """What a program is given, for one that is called in this process."""
    folder = JobFolder(spec.parent)
    told = folder.spec()
    return RunningJob(told.at(folder.root), folder, Claimed(code=told.code, libraries=told.libraries))


def identities(folder: Path) -> dict[str, str]:
    """Identity of every task of a folder, by name."""
    return {name: task_identity(task) for name, (task, _) in read_tasks([folder]).items()}
