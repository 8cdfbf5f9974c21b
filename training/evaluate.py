"""Score a Hugging Face folder with lm-eval: ``python -m training.evaluate spec.json``, one process, no network.

Tasks run one after another and each leaves its own files, so a task that breaks costs its own score and nothing else, and a job
that was killed goes on with the next task. The price is one pass of the harness per task (about 0.1 s).

    ‹out›/‹task›.json          rows: one per metric
    ‹out›/‹task›.items.jsonl   one line per item, so that two models can be compared item by item
    ‹out›/‹task›.error.txt     why there is no score; the program then ends with exit code 3
    ‹out›/samples.json         continuations of the recipe's prompts
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from neo_assets.core import records
from neo_assets.core.jobs import JobSpec, Reporter
from training.tasks import MULTIPLE_CHOICE_METRICS, Task, lm_eval_config, lm_eval_record, read_tasks, task_identity

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL = "hf_model"
EXIT_TASK_FAILED = 3
ANALYTIC = 1
"""lm-eval's ``bootstrap_iters``: anything above 0 gives accuracies their standard error, which has a formula and needs no bootstrap."""

Scalar = str | int | float | bool | None
Rows = list[dict[str, Scalar]]


class EvaluateConfig(BaseModel):
    """What ``training.evaluate`` needs besides its input folders: ``hf_model``, and any number with a ``tasks.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: list[str]  # names; the others in the folders are left alone
    batch_size: int = Field(ge=1)
    threads: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    dtype: Literal["bf16", "fp32"]
    seed: int
    samples: dict[str, list[str]]  # prompts by language
    sample_tokens: int = Field(ge=1)
    repetition_penalty: float = Field(ge=1)  # of the samples; 1 = none


def evaluate(spec: JobSpec, job_folder: Path) -> int:
    """Run the tasks that have no score yet, then the samples. Returns the exit code."""
    config = EvaluateConfig.model_validate(spec.config)
    out = Path(spec.out)
    out.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(job_folder)
    scratch = out / ".logs" / "lm_eval"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    _stay_offline(scratch)
    known = read_tasks(Path(folder) for name, folder in spec.inputs.items() if name != MODEL)
    if missing := [name for name in config.tasks if name not in known]:
        raise SystemExit(f"there is no task {', '.join(missing)}; there are: {', '.join(known)}")
    model, tokenizer = load(Path(spec.inputs[MODEL]), config)
    lm = stream_model(model, tokenizer, config)
    failed = []
    for done, name in enumerate(config.tasks, 1):
        task, data = known[name]
        if _scored(out, task):
            print(f"{name}: already scored", flush=True)
            continue
        try:
            rows, items = score(lm, task, data, scratch, config.seed, lambda text: len(lm.tok_encode(text)))
        except Exception as error:  # whatever it is, the other tasks' scores must not be lost to it
            failed.append(name)
            records.write_text(out / f"{name}.error.txt", traceback.format_exc())
            print(f"{name}: no score: {type(error).__name__}: {error}", flush=True)
            continue
        records.write_text(out / f"{name}.items.jsonl", "".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items))
        records.write_text(out / f"{name}.json", json.dumps(rows, indent=1))
        (out / f"{name}.error.txt").unlink(missing_ok=True)
        main = next(r for r in rows if r["main"])
        print(f"{name}: {main['metric']} {main['value']:.4f} ± {main['stderr'] or 0:.4f} ({task.items} items, {main['seconds']} s)", flush=True)
        reporter.send("progress", task=name, done=done, tasks=len(config.tasks), metric=main["metric"], value=main["value"])
    records.write_text(out / "samples.json", json.dumps(continuations(model, tokenizer, config), ensure_ascii=False, indent=1))
    shutil.rmtree(scratch, ignore_errors=True)
    reporter.send("done", scored=len(config.tasks) - len(failed), failed=failed)
    return EXIT_TASK_FAILED if failed else 0


def _stay_offline(scratch: Path) -> None:
    """Must come before the first import of a Hugging Face library: they read these once."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(scratch / "hf"), HF_DATASETS_CACHE=str(scratch / "datasets"), TOKENIZERS_PARALLELISM="false")


def _scored(out: Path, task: Task) -> bool:
    file = out / f"{task.name}.json"
    return file.is_file() and all(row["identity"] == task_identity(task) for row in json.loads(file.read_text(encoding="utf-8")))


def load(folder: Path, config: EvaluateConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of a folder, ready to score. Text that spells a special token is tokenized as text, as in training."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(config.threads)
    dtype = torch.bfloat16 if config.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(config.device).eval()
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True, split_special_tokens=True)


def stream_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: EvaluateConfig) -> Any:
    """The model as lm-eval sees it, asked in the form it was trained in.

    In training a document's first token follows nothing. lm-eval would put a special token before it that the model has never seen
    as context. Here the first token of a document is not predicted: it is charged as if drawn from the whole vocabulary.
    """
    from lm_eval.models.huggingface import HFLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    class StreamLM(HFLM):  # type: ignore[misc]  # lm-eval ships no types
        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            windows: list[tuple[None, list[int], list[int]]] = []
            owners: list[int] = []
            totals = [0.0] * len(requests)
            for owner, request in enumerate(requests):
                first, *rest = self.tok_encode(request.args[0])
                totals[owner] = -math.log(self.model.config.vocab_size)
                for window in get_rolling_token_windows(rest, prefix_token=first, max_seq_len=self.max_length, context_len=1):
                    windows.append((None, *make_disjoint_window(window)))
                    owners.append(owner)
            scored = self._loglikelihood_tokens(windows, disable_tqdm=True, override_bs=self.batch_size)
            for owner, (loglik, _) in zip(owners, scored, strict=True):
                totals[owner] += loglik
            return totals

    return StreamLM(pretrained=model, tokenizer=tokenizer, batch_size=config.batch_size, device=config.device, max_length=model.config.max_position_embeddings, add_bos_token=False)


def score(lm: LM, task: Task, data: Path, scratch: Path, seed: int, count_tokens: Callable[[str], int]) -> tuple[Rows, list[dict[str, object]]]:
    """Run one task. Returns its score rows, and one record per item in item order.

    Raises:
        ValueError: the data file does not hold as many items as the task says.
    """
    import lm_eval
    import numpy as np
    import torch
    import yaml
    from lm_eval.evaluator import evaluate as run_harness
    from lm_eval.tasks import TaskManager

    began = time.monotonic()
    items = [json.loads(line) for line in data.read_text(encoding="utf-8").split("\n") if line]
    if len(items) != task.items:
        raise ValueError(f"{data} holds {len(items)} items, its description says {task.items}")
    folder = scratch / task.name
    folder.mkdir(parents=True, exist_ok=True)
    rendered = folder / "items.jsonl"
    rendered.write_text("".join(json.dumps(lm_eval_record(task, i), ensure_ascii=False) + "\n" for i in items), encoding="utf-8")
    (folder / "task.yaml").write_text(yaml.safe_dump(lm_eval_config(task, rendered, scratch / "datasets"), allow_unicode=True), encoding="utf-8")

    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)
    loaded = TaskManager(include_path=str(folder), include_defaults=False).load([task.name])
    for one in loaded["tasks"].values():
        one.set_fewshot_seed(seed=seed)
    results = run_harness(lm, loaded, bootstrap_iters=ANALYTIC, log_samples=True)
    samples = sorted(results["samples"][task.name], key=lambda s: s["doc_id"])
    common: dict[str, Scalar] = {"task": task.name, "identity": task_identity(task), "lang": task.lang, "n": len(samples), "chance": task.chance}
    common |= {"filter": "none", "lm_eval": lm_eval.__version__, "seconds": round(time.monotonic() - began, 3)}

    if task.kind == "multiple_choice":
        numbers = results["results"][task.name]
        rows: Rows = [
            {**common, "metric": m, "value": float(numbers[f"{m},none"]), "stderr": _finite(numbers[f"{m}_stderr,none"]), "higher_is_better": True, "main": m == task.metric}
            for m in MULTIPLE_CHOICE_METRICS
        ]
        return rows, [_choice_record(s) for s in samples]
    documents = [_document_record(s, count_tokens) for s in samples]
    bits = [-float(d["loglik"]) / math.log(2) for d in documents]
    nats = [-float(d["loglik"]) for d in documents]
    rows = []
    for metric, values, sizes in (("bits_per_byte", bits, [int(d["bytes"]) for d in documents]), ("nats_per_token", nats, [int(d["tokens"]) for d in documents])):
        value, stderr = ratio(values, sizes)
        is_main = metric == task.metric
        rows.append({**common, "metric": metric, "value": value, "stderr": stderr, "higher_is_better": False, "main": is_main, "chance": task.chance if is_main else None})
    return rows, [dict(d) for d in documents]


def ratio(amounts: Sequence[float], sizes: Sequence[int]) -> tuple[float, float | None]:
    """Sum of amounts over sum of sizes, and its standard error over documents drawn at random (delta method; None for one document)."""
    total, n = sum(sizes), len(sizes)
    value = math.fsum(amounts) / total
    if n < 2:
        return value, None
    residuals = math.fsum((a - value * s) ** 2 for a, s in zip(amounts, sizes, strict=True))
    return value, math.sqrt(n / (n - 1) * residuals) / total


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _choice_record(sample: dict[str, Any]) -> dict[str, object]:
    """``chosen`` and ``correct`` as in acc_norm: the highest log-likelihood per character."""
    logliks = [float(loglik) for loglik, _ in sample["filtered_resps"]]
    per_character = [loglik / len(choice) for loglik, choice in zip(logliks, sample["doc"]["choices"], strict=True)]
    chosen = per_character.index(max(per_character))
    return {
        "doc_id": sample["doc_id"],
        "id": sample["doc"]["id"],
        "logliks": logliks,
        "chosen": chosen,
        "answer": sample["doc"]["answer"],
        "correct": bool(sample["acc_norm"]),
        "prompt_hash": sample["prompt_hash"],
    }


def _document_record(sample: dict[str, Any], count_tokens: Callable[[str], int]) -> dict[str, Any]:
    text = sample["doc"]["text"]
    return {
        "doc_id": sample["doc_id"],
        "id": sample["doc"]["id"],
        "loglik": float(sample["filtered_resps"][0]),
        "bytes": len(text.encode()),
        "tokens": count_tokens(text),
        "prompt_hash": sample["prompt_hash"],
    }


def continuations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: EvaluateConfig) -> dict[str, object]:
    """How the model goes on from each prompt: the likeliest token each time, with repetition made less likely. Deterministic."""
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
            samples.append({"lang": lang, "prompt": prompt, "continuation": tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)})
    return {"method": f"greedy, repetition penalty {config.repetition_penalty}, at most {config.sample_tokens} tokens", "samples": samples}


if __name__ == "__main__":
    spec_file = Path(sys.argv[1])
    sys.exit(evaluate(JobSpec.model_validate_json(spec_file.read_text(encoding="utf-8")), spec_file.parent))
