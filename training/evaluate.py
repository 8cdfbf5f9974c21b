"""Score a Hugging Face folder with lm-eval: a job's program, one process, no network.

The model is loaded once. Tasks run one after another and each leaves its own files, so a task that breaks costs its own
score and nothing else, and a job that was killed, or asked to stop (preemption, time limit, pause), goes on with the
next task. The price is one pass of the harness per task (about 0.1 s).

    ‹out›/‹folder›/‹task›.json          rows: one per metric and subset
    ‹out›/‹folder›/‹task›.items.jsonl   one line per item, so that two models can be compared item by item
    ‹out›/‹folder›/‹task›.error.txt     why there is no score; the program then ends with exit code 3
    ‹out›/‹folder›/samples.json         continuations of the recipe's prompts

Every score has a folder of its own, named by what it is made from: results that another job left under an older task or
program are not taken for today's.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from neo_assets.core import records
from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import Reporter, RunningJob
from training.document_start import starts_from_nothing
from training.harness import score, stream_model
from training.leaving import leave_when_asked
from training.tasks import limited, read_tasks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL = "hf_model"
SAMPLES = "samples"
EXIT_TASK_FAILED = 3
BAR_SECONDS = 30
"""How long a task takes before the log shows a bar for it, and how often the bar moves."""
REPEATED = 4
"""Tokens in a row that count as a repetition when they occur again in one continuation."""


class Asked(BaseModel):
    """A task as it is asked: which one, and how many of its items, where not all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    first: int | None = None


class EvaluateConfig(BaseModel):
    """What ``training.evaluate`` needs besides its input folders: ``hf_model``, and any number with
    a ``tasks.json``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: dict[str, Asked]  # by the name the score gets; the others in the folders are left alone
    folders: dict[str, str]  # below out, by the same names and "samples"
    batch_size: int = Field(ge=1)
    threads: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    dtype: Literal["bf16", "fp32"]
    seed: int
    samples: dict[str, list[str]]  # prompts by language
    sample_tokens: int = Field(ge=1)
    repetition_penalty: float = Field(ge=1)  # of the samples; 1 = none


def evaluate(job: RunningJob) -> int:
    """Run the tasks that have no score yet, then the samples. Returns the exit code."""
    spec, job_folder = job.spec, job.folder.path
    config = EvaluateConfig.model_validate(spec.config)
    out = Path(spec.out)
    out.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(job_folder)
    reporter.send("note", tasks=len(config.tasks))
    scratch = job_folder / ".lm_eval"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    stay_offline(scratch)
    keep_the_log_short()
    known = read_tasks(Path(folder) for name, folder in spec.inputs.items() if name != MODEL)
    if missing := sorted({asked.task for asked in config.tasks.values()} - set(known)):
        raise SystemExit(f"there is no task {', '.join(missing)}; there are: {', '.join(known)}")
    model, tokenizer = load(Path(spec.inputs[MODEL]), config)
    lm = stream_model(model, tokenizer, config.batch_size, config.device)
    failed = []
    for done, (name, asked) in enumerate(config.tasks.items(), 1):
        task, data = limited(known[asked.task][0], name, asked.first), known[asked.task][1]
        mine = out / config.folders[name]
        if (mine / f"{name}.json").is_file():
            print(f"{name}: already scored", flush=True)
            continue
        try:
            rows, items = score(lm, task, data, scratch, config.seed)
        except Exception as error:  # whatever it is, the other tasks' scores must not be lost to it
            failed.append(name)
            records.write_text(
                mine / f"{name}.error.txt", str(error) if isinstance(error, NeoError) else traceback.format_exc()
            )
            print(f"{name}: no score: {type(error).__name__}: {error}", flush=True)
            continue
        records.write_text(
            mine / f"{name}.items.jsonl", "".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items)
        )
        records.write_text(mine / f"{name}.json", json.dumps(rows, indent=1))
        (mine / f"{name}.error.txt").unlink(missing_ok=True)
        main = next(r for r in rows if r["main"])
        print(
            f"{name}: {main['metric']} {main['value']:.4f} ± {main['stderr'] or 0:.4f} ({len(items)} items,"
            f" {main['seconds']} s)",
            flush=True,
        )
        reporter.send(
            "progress", task=name, done=done, tasks=len(config.tasks), metric=main["metric"], value=main["value"]
        )
    if config.samples and not (out / config.folders[SAMPLES] / f"{SAMPLES}.json").is_file():
        records.write_text(
            out / config.folders[SAMPLES] / f"{SAMPLES}.json",
            json.dumps(continuations(model, tokenizer, config), ensure_ascii=False, indent=1),
        )
    shutil.rmtree(scratch, ignore_errors=True)
    reporter.send("done", scored=len(config.tasks) - len(failed), failed=failed)
    return EXIT_TASK_FAILED if failed else 0


def stay_offline(scratch: Path) -> None:
    """Must come before the first import of a Hugging Face library: they read these once."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        HF_HOME=str(scratch / "hf"),
        HF_DATASETS_CACHE=str(scratch / "datasets"),
        TOKENIZERS_PARALLELISM="false",
    )


def keep_the_log_short() -> None:
    """Must come before the first import of tqdm, which reads these once."""
    os.environ |= {"TQDM_DELAY": str(BAR_SECONDS), "TQDM_MININTERVAL": str(BAR_SECONDS)}
    logging.getLogger("lm_eval").setLevel(
        logging.ERROR
    )  # it warns of a model that is loaded already, which is the point


def load(folder: Path, config: EvaluateConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of a folder, ready to score. In a model of ours, text that spells a special token is
    tokenized as text, as in training.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(config.threads)
    dtype = torch.bfloat16 if config.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(config.device).eval()
    ours = {"split_special_tokens": True} if starts_from_nothing(model.config) else {}
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True, **ours)


def continuations(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: EvaluateConfig
) -> dict[str, object]:
    """How the model goes on from each prompt: the likeliest token each time, with repetition made less likely.
    Deterministic.
    """
    import torch

    samples = []
    for lang, prompts in sorted(config.samples.items()):
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids.to(config.device)
            room = model.config.max_position_embeddings - ids.shape[1]
            with torch.no_grad():
                written = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=max(1, min(config.sample_tokens, room)),
                    do_sample=False,
                    repetition_penalty=config.repetition_penalty,
                    pad_token_id=tokenizer.eos_token_id,
                    use_cache=True,
                )
            new = written[0, ids.shape[1] :].tolist()
            samples.append(
                {
                    "lang": lang,
                    "prompt": prompt,
                    "continuation": tokenizer.decode(new, skip_special_tokens=True),
                    "tokens": len(new),
                    "repetition": repetition(new),
                }
            )
    return {
        "method": f"greedy, repetition penalty {config.repetition_penalty}, at most {config.sample_tokens} tokens",
        "samples": samples,
    }


def repetition(tokens: list[int]) -> float:
    """Share of the runs of four tokens that have occurred before in the text; 1 for a text that ended at once."""
    runs = [tuple(tokens[i : i + REPEATED]) for i in range(len(tokens) - REPEATED + 1)]
    if not runs:
        return 0.0 if tokens else 1.0
    return sum(n - 1 for n in Counter(runs).values()) / len(runs)


def main(job: RunningJob) -> int:
    leave_when_asked(job.folder)
    return evaluate(job)
