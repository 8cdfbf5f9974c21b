"""How well checkpoints predict held-out text: a job's program, one process.

Asks tasks of bits per byte as ``training.evaluate`` does, of models that are not exported first: a series of runs has
dozens of checkpoints, each small and wanted for one number a task.

    ‹out›/text_losses.parquet   a row a checkpoint and task
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.jobs import Reporter, RunningJob
from neo_assets.core.recipe.run import Model
from training.spec import Start
from training.tasks import read_tasks

FILE = "text_losses.parquet"
TOKENIZER, TASKS = "tokenizer", "tasks"
"""Names of its inputs."""
ROWS = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("task", pa.string()),
        ("lang", pa.string()),
        ("documents", pa.int64()),
        ("bits_per_byte", pa.float64()),
        ("stderr", pa.float64()),
    ]
)


class Measured(BaseModel):
    """A checkpoint that is asked, after so many tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    start: Start
    tokens: int
    model: Model


class TextLossConfig(BaseModel):
    """What ``training.text_losses`` needs besides its folders; the rest as in ``training.evaluate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measured: list[Measured]
    vocab_rows: int
    tasks: list[str]
    batch_size: int
    device: Literal["cpu", "cuda"]
    dtype: Literal["bf16", "fp32"]
    threads: int
    seed: int


def main(job: RunningJob) -> None:
    from training.evaluate import keep_the_log_short, stay_offline

    config = TextLossConfig.model_validate(job.spec.config)
    scratch = job.folder.path / ".lm_eval"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    stay_offline(scratch)
    keep_the_log_short()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    folders = {name: Path(folder) for name, folder in job.spec.inputs.items()}
    reporter = Reporter(job.folder.path)
    rows = []
    for done, measured in enumerate(config.measured, 1):
        start = measured.start.at(job.folder.root)
        rows += text_losses(config, measured, Path(start.folder), folders, scratch)
        told = ", ".join(f"{row['task']} {row['bits_per_byte']:.4f}" for row in rows[-len(config.tasks) :])
        print(f"{measured.run} step {start.step}: {told}", flush=True)
        reporter.send("progress", done=done, checkpoints=len(config.measured))
    out = Path(job.spec.out)
    out.mkdir(parents=True, exist_ok=True)
    records.write_table(pa.Table.from_pylist(rows, schema=ROWS), out / FILE)
    shutil.rmtree(scratch, ignore_errors=True)
    reporter.send("done", checkpoints=len(config.measured))


def text_losses(
    config: TextLossConfig, measured: Measured, checkpoint: Path, folders: Mapping[str, Path], scratch: Path
) -> list[dict[str, Any]]:
    """A row a task. Raises ValueError for a task that is not there, or is none of bits per byte."""
    import torch
    from transformers import AutoTokenizer

    from training.harness import score, stream_model
    from training.loaded import loaded

    torch.set_num_threads(config.threads)
    tokenizer = AutoTokenizer.from_pretrained(folders[TOKENIZER], local_files_only=True, split_special_tokens=True)
    model = loaded(checkpoint, measured.model, config.vocab_rows, tokenizer, config.dtype, config.threads)
    lm = stream_model(model.to(config.device), tokenizer, config.batch_size, config.device)
    known = read_tasks([folders[TASKS]])
    rows = []
    for name in config.tasks:
        task, data = known.get(name, (None, None))
        if task is None or data is None or task.kind != "loglikelihood_rolling":
            there = ", ".join(n for n, (t, _) in known.items() if t.kind == "loglikelihood_rolling")
            raise ValueError(f"there is no task of bits per byte called '{name}'; there are: {there or 'none'}")
        scores, items = score(lm, task, data, scratch, config.seed)
        whole = next(row for row in scores if row["main"])
        rows.append(
            {
                "run": measured.run, "step": measured.start.step, "tokens": measured.tokens, "task": name,
                "lang": task.lang, "documents": len(items), "bits_per_byte": whole["value"], "stderr": whole["stderr"],
            }
        )  # fmt: skip
    return rows
