"""Held-out text through a checkpoint is what its exported folder scores, to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from neo_assets.core.fingerprint import ROOT, digest_bytes
from tests.training.folders import ROWS, SHAPE, running, save_tokenizer, write_spec
from training import export, text_losses
from training.evaluate import EvaluateConfig, load
from training.harness import score, stream_model
from training.tasks import TASKS_FILE, Task, read_tasks, write_tasks

DOCUMENTS = [
    {"id": "d1", "text": "Plain text with {{ braces }} and <|end|>.\n" * 9},
    {"id": "d2", "text": "中文文本。" * 30},
]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, a tokenizer, and two tasks, one of which is none of bits per byte."""
    folder = tmp_path_factory.mktemp("made")
    program = Path(__file__).with_name("one_checkpoint.py")
    told = [str(folder), SHAPE.model_dump_json(), str(ROWS), "1-bf16"]
    done = subprocess.run(
        [sys.executable, str(program), *told], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    save_tokenizer(folder / "tokenizer")
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in DOCUMENTS)
    common = {"file": "lines.jsonl", "data_digest": digest_bytes(lines.encode()), "lang": "en", "licence": "CC0"}
    common |= {"items": 2, "chance": None, "description": ""}
    tasks = [
        Task.model_validate(common | {"name": "bpb", "kind": "loglikelihood_rolling", "metric": "bits_per_byte"}),
        Task.model_validate(common | {"name": "quiz", "kind": "generate", "metric": "exact"}),
    ]
    (folder / "tasks").mkdir()
    (folder / "tasks" / "lines.jsonl").write_text(lines, encoding="utf-8")
    (folder / "tasks" / TASKS_FILE).write_text(write_tasks(tasks), encoding="utf-8")
    return folder


def ask(at: Path, job: Path, tasks: list[str], dtype: str) -> Path:
    start = {"folder": str(at / "1-bf16"), "digest": "d", "step": 2, "next_sample": 0, "take": "weights"}
    config = {
        "measured": [{"run": "w", "start": start, "tokens": 128, "model": SHAPE.model_dump()}],
        "vocab_rows": ROWS, "tasks": tasks, "batch_size": 2, "device": "cpu", "dtype": dtype, "threads": 1, "seed": 0,
    }  # fmt: skip
    inputs = {"tokenizer": at / "tokenizer", "tasks": at / "tasks"}
    text_losses.main(running(write_spec(job, "training.text_losses", config, inputs)))
    return job / "out" / text_losses.FILE


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_checkpoint_scores_what_its_export_does(at: Path, tmp_path: Path, dtype: str) -> None:
    (row,) = pq.read_table(ask(at, tmp_path / "a", ["bpb"], dtype)).to_pylist()
    told = {"model": SHAPE.model_dump(), "vocab_rows": ROWS, "tag": "state", "threads": 1}
    spec = write_spec(
        tmp_path / "b", "training.export", told, {"checkpoint": at / "1-bf16", "tokenizer": at / "tokenizer"}
    )
    export.export(running(spec))
    config = EvaluateConfig.model_validate(
        {
            "tasks": {}, "folders": {}, "batch_size": 2, "threads": 1, "device": "cpu", "dtype": dtype, "seed": 0,
            "samples": {}, "sample_tokens": 1, "repetition_penalty": 1,
        }
    )  # fmt: skip
    model, tokenizer = load(tmp_path / "b" / "out", config)
    task, data = read_tasks([at / "tasks"])["bpb"]
    scores, _ = score(stream_model(model, tokenizer, 2, "cpu"), task, data, tmp_path, 0)
    whole = next(r for r in scores if r["main"])
    assert (row["bits_per_byte"], row["stderr"]) == (whole["value"], whole["stderr"])
    assert (row["run"], row["step"], row["tokens"], row["documents"]) == ("w", 2, 128, 2) and row["bits_per_byte"] > 1


@pytest.mark.parametrize("name", ["other", "quiz"])
def test_what_is_no_task_of_bits_per_byte_is_refused(at: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"no task of bits per byte called '{name}'; there are: bpb"):
        ask(at, tmp_path, [name], "fp32")
