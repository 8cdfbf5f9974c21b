"""One task at a time through lm-eval: our own tasks as YAML made here, and the tasks it ships on data that lie here.

Results are lm-eval's own numbers wherever it has them. Each item is kept with ``value`` and ``size`` of the task's main
metric, so that the score is the sum of values over the sum of sizes, and two models can be compared item by item
whatever the task is.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neo_assets.core.fingerprint import digest_json
from training.chat import Talker, judged
from training.document_start import starts_from_nothing
from training.tasks import (
    MULTIPLE_CHOICE_METRICS,
    Task,
    lm_eval_config,
    lm_eval_record,
    question_key,
    question_of,
    task_identity,
)
from training.templates import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ANALYTIC = 1
"""lm-eval's ``bootstrap_iters``: anything above 0 gives accuracies their standard error, which has a formula and needs
no bootstrap.
"""
BOOTSTRAP = 100_000
"""lm-eval's own default, for shipped tasks whose metric has no such formula."""
POWER = 2.8
"""Standard errors of a difference that is found four times out of five at the 5 % level: 1.96 + 0.84."""

Scalar = str | int | float | bool | None
Rows = list[dict[str, Scalar]]
Items = list[dict[str, object]]


def stream_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int, device: str) -> Any:
    """The model as lm-eval sees it, asked in the form it was trained in.

    In our training a document's first token follows nothing. lm-eval would put a special token before it that the model
    has never seen as context. Here the first token of a document is not predicted: it is charged as if drawn from the
    whole vocabulary. A model that does not say so (any that was not exported here) is lm-eval's own, without a
    difference.
    """
    from lm_eval.models.huggingface import HFLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    class CountingLM(HFLM):  # type: ignore[misc]  # lm-eval ships no types
        """Counts the requests that are longer than the model reads: lm-eval cuts them from the left, examples first,
        and only logs it.
        """

        requests = cut = 0

        def _loglikelihood_tokens(self, requests: list[tuple[Any, list[int], list[int]]], **more: Any) -> Any:
            self.requests += len(requests)
            self.cut += sum(
                len(context) + len(continuation) > self.max_length + 1 for _, context, continuation in requests
            )
            return super()._loglikelihood_tokens(requests, **more)

        def tok_batch_encode(
            self,
            strings: list[str],
            padding_side: str = "left",
            left_truncate_len: int | None = None,
            truncation: bool = False,
        ) -> Any:
            self.requests += len(strings)
            if left_truncate_len is not None:
                self.cut += sum(len(self.tok_encode(text)) > left_truncate_len for text in strings)
            return super().tok_batch_encode(
                strings, padding_side=padding_side, left_truncate_len=left_truncate_len, truncation=truncation
            )

    if not starts_from_nothing(model.config):
        return CountingLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device=device)

    class StreamLM(CountingLM):
        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            windows: list[tuple[None, list[int], list[int]]] = []
            owners: list[int] = []
            totals = [0.0] * len(requests)
            for owner, request in enumerate(requests):
                first, *rest = self.tok_encode(request.args[0])
                totals[owner] = -math.log(self.model.config.vocab_size)
                for window in get_rolling_token_windows(
                    rest, prefix_token=first, max_seq_len=self.max_length, context_len=1
                ):
                    windows.append((None, *make_disjoint_window(window)))
                    owners.append(owner)
            scored = self._loglikelihood_tokens(windows, disable_tqdm=True, override_bs=self.batch_size)
            for owner, (loglik, _) in zip(owners, scored, strict=True):
                totals[owner] += loglik
            return totals

    return StreamLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        device=device,
        max_length=model.config.max_position_embeddings,
        add_bos_token=False,
    )


def score(lm: Any, task: Task, data: Path, scratch: Path, seed: int) -> tuple[Rows, Items]:
    """Run one task. Returns its score rows, and one record per item in item order.

    Raises:
        ValueError: the data file does not hold as many items as the task says, or the harness has no such metric.
        SandboxUnavailable: the task's programs may not be run on this machine.
    """
    began = time.monotonic()
    if task.kind == "code":
        from training.sandbox import Sandbox

        Sandbox.open(
            task.limits.packages if task.limits else ()
        )  # before an hour is spent on writing programs that may not be run
    _set_seeds(seed)
    if hasattr(lm, "cut"):
        lm.requests = lm.cut = 0
    if task.kind == "chat":
        rows, items = _conversations(lm, task, data)
    else:
        rows, items = _shipped(lm, task, data, seed) if task.shipped else _own(lm, task, data, scratch, seed)
    common: dict[str, Scalar] = {
        "task": task.name,
        "identity": task_identity(task),
        "lang": task.lang,
        "n": len(items),
        "shots": task.shots,
    }
    common |= {"requests": getattr(lm, "requests", None), "cut": getattr(lm, "cut", None)}
    common |= {
        "chance": task.chance,
        "higher_is_better": True,
        "main": False,
        "subset": None,
        "lm_eval": _version(),
        "seconds": round(time.monotonic() - began, 3),
    }
    return [_whole(common | row) for row in rows], items


def _whole(row: dict[str, Scalar]) -> dict[str, Scalar]:
    """With the smallest difference between two models that such a score can be expected to show, if they are asked
    separately.
    """
    return row | {"detectable": detectable(float(str(row["value"])), row["stderr"], int(str(row["n"])))}


def detectable(value: float, stderr: Scalar, n: int) -> float | None:
    """Difference found four times out of five at the 5 % level; None where no standard error is known.

    All or no answers right have a standard error of 0, and yet the next item may be another: there two right and two
    wrong ones are added (Agresti and Coull 1998).
    """
    if not isinstance(stderr, float):
        return None
    if stderr == 0 and value in (0, 1):
        p = (value * n + 2) / (n + 4)
        stderr = math.sqrt(p * (1 - p) / (n + 4))
    return POWER * math.sqrt(2) * stderr


def _set_seeds(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def _version() -> str:
    import lm_eval

    return str(lm_eval.__version__)


# ------------------------------------------------------------------ our own tasks


def _asked(task: Task, data: Path) -> list[dict[str, Any]]:
    asked = [json.loads(line) for line in data.read_text(encoding="utf-8").split("\n") if line][: task.first]
    if len(asked) != task.items:
        raise ValueError(f"{data} holds {len(asked)} items, its description says {task.items}")
    return asked


def _conversations(lm: Any, task: Task, data: Path) -> tuple[Rows, Items]:
    """Answers, judged: the share that is exactly right, whole and by task; that end, are in the language that was asked
    for and well formed; what they share with the right answer; how many are different; how long they are.
    """
    talker = Talker.of(lm.model, lm.tokenizer, task.template)
    asked = _asked(task, data)
    prompts = [talker.prompt([Turn(t["role"], t["text"]) for t in item["turns"]]) for item in asked]
    answers = talker.answers(prompts, task.max_tokens, int(lm.batch_size))
    items: Items = []
    told: dict[str, list[float]] = defaultdict(list)
    by_task: dict[str, list[float]] = defaultdict(list)
    for item, prompt, answer in zip(asked, prompts, answers, strict=True):
        verdicts = judged(answer, item["target"], item["lang"])
        for name, value in [*verdicts.items(), ("characters", float(len(answer.text)))]:
            told[name].append(value)
        by_task[item["task"] or item["set"]].append(verdicts["exact"])
        more: dict[str, object] = {**verdicts}
        more |= {"written": answer.text, "target": item["target"], "asked": item["turns"][-1]["text"]}
        more |= {"set": item["set"], "task": item["task"], "prompt_hash": digest_json(prompt)}
        items.append({"id": item["id"], "value": verdicts[task.metric], "size": 1, **more})
    texts = [answer.text.strip() for answer in answers]
    told["distinct"] = [len(set(texts)) / len(texts)]
    rows: Rows = []
    for name, values in told.items():
        value, stderr = ratio(values, [1] * len(values))
        main = name == task.metric
        rows.append(
            {"metric": name, "value": value, "stderr": stderr, "main": main, "chance": task.chance if main else None}
        )
    for name, values in sorted(by_task.items()):
        value, stderr = ratio(values, [1] * len(values))
        row: dict[str, Scalar] = {"metric": task.metric, "value": value, "stderr": stderr, "n": len(values)}
        rows.append(row | {"subset": f"task:{name}"})
    return rows, items


def _own(lm: Any, task: Task, data: Path, scratch: Path, seed: int) -> tuple[Rows, Items]:
    import yaml
    from lm_eval.evaluator import evaluate as run_harness
    from lm_eval.tasks import TaskManager

    asked = _asked(task, data)
    folder = scratch / task.name
    folder.mkdir(parents=True, exist_ok=True)
    rendered = folder / "items.jsonl"
    rendered.write_text(
        "".join(json.dumps(lm_eval_record(task, i), ensure_ascii=False) + "\n" for i in asked), encoding="utf-8"
    )
    config = lm_eval_config(task, rendered, scratch / "datasets", getattr(lm, "max_length", 0))
    (folder / "task.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    loaded = TaskManager(include_path=str(folder), include_defaults=False).load([task.name])
    for one in loaded["tasks"].values():
        one.set_fewshot_seed(seed=seed)
    results = run_harness(lm, loaded, bootstrap_iters=ANALYTIC, log_samples=True)
    samples = sorted(results["samples"][task.name], key=lambda s: s["doc_id"])
    if task.kind == "loglikelihood_rolling":
        return _text_scores(lm, task, asked, samples)
    if task.kind == "multiple_choice":
        numbers = results["results"][task.name]
        rows: Rows = [
            {
                "metric": m,
                "value": float(numbers[f"{m},none"]),
                "stderr": finite(numbers[f"{m}_stderr,none"]),
                "main": m == task.metric,
            }
            for m in MULTIPLE_CHOICE_METRICS
        ]
        return rows, [_choice_record(task, s) for s in samples]
    written = [str(s["filtered_resps"][0]) for s in samples]
    if task.kind == "code":
        from training.programs import run_programs

        right, detail = run_programs(task, asked, written)
    else:
        right = [text.strip() == str(item["target"]) for text, item in zip(written, asked, strict=True)]
        detail = [""] * len(right)
    value, stderr = ratio([float(r) for r in right], [1] * len(right))
    items: Items = [
        {
            "id": item["id"],
            "value": float(ok),
            "size": 1,
            "written": text,
            "detail": why,
            "prompt_hash": s["prompt_hash"],
        }
        for item, text, ok, why, s in zip(asked, written, right, detail, samples, strict=True)
    ]
    return [{"metric": task.metric, "value": value, "stderr": stderr, "main": True}], items


def _text_scores(
    lm: Any, task: Task, asked: Sequence[dict[str, Any]], samples: Sequence[dict[str, Any]]
) -> tuple[Rows, Items]:
    """Bits per byte, whole and by source, and nats per token."""
    items: Items = []
    nats: list[float] = []
    tokens: list[int] = []
    for item, sample in zip(asked, samples, strict=True):
        loglik = float(sample["filtered_resps"][0])
        nats.append(-loglik)
        tokens.append(len(lm.tok_encode(item["text"])))
        size = len(item["text"].encode())
        items.append(
            {
                "id": item["id"],
                "value": -loglik / math.log(2),
                "size": size,
                "source": item.get("source"),
                "tokens": tokens[-1],
                "prompt_hash": sample["prompt_hash"],
            }
        )
    value, stderr = item_score(items)
    rows: Rows = [{"metric": task.metric, "value": value, "stderr": stderr, "main": True, "higher_is_better": False}]
    by_source: dict[str, Items] = defaultdict(list)
    for record in items:
        if record["source"]:
            by_source[str(record["source"])].append(record)
    for source, mine in sorted(by_source.items()):
        value, stderr = item_score(mine)
        rows.append(
            {
                "metric": task.metric,
                "value": value,
                "stderr": stderr,
                "n": len(mine),
                "subset": f"source:{source}",
                "higher_is_better": False,
            }
        )
    value, stderr = ratio(nats, tokens)
    return [
        *rows,
        {"metric": "nats_per_token", "value": value, "stderr": stderr, "higher_is_better": False, "chance": None},
    ], items


def _choice_record(task: Task, sample: dict[str, Any]) -> dict[str, object]:
    """``chosen`` as in acc_norm: the highest log-likelihood per character."""
    logliks = [float(loglik) for loglik, _ in sample["filtered_resps"]]
    per_character = [loglik / len(choice) for loglik, choice in zip(logliks, sample["doc"]["choices"], strict=True)]
    chosen = per_character.index(max(per_character))
    of_main = float(sample[task.metric])
    return {
        "id": sample["doc"]["id"],
        "value": of_main,
        "size": 1,
        "logliks": logliks,
        "chosen": chosen,
        "answer": sample["doc"]["answer"],
        "prompt_hash": sample["prompt_hash"],
    }


# ------------------------------------------------------------------ tasks that lm-eval ships


def _shipped(lm: Any, task: Task, data: Path, seed: int) -> tuple[Rows, Items]:
    """The harness's own task, unchanged, on the data sets below ``data``: it looks for a folder called as on the hub
    before it asks the hub.
    """
    import lm_eval
    from lm_eval.evaluator import evaluate as run_harness
    from lm_eval.tasks import TaskManager

    assert task.shipped is not None
    name = task.shipped.task
    with contextlib.chdir(data):
        loaded = TaskManager(
            include_path=str(Path(lm_eval.__file__).parent / "tasks" / task.shipped.folder), include_defaults=False
        ).load([name])
        for one in loaded["tasks"].values():
            # As lm-eval's command line does with --num_fewshot: a task that says 0 itself stays so.
            if one.get_config("num_fewshot") != 0:
                one.set_config(key="num_fewshot", value=task.shots)
            one.set_fewshot_seed(seed=seed)
        results = run_harness(lm, loaded, bootstrap_iters=BOOTSTRAP, log_samples=True, limit=task.first)
    numbers = results["results"][name] if name in results["results"] else results["groups"][name]
    metrics = [k for k in numbers if "," in k and "_stderr," not in k and isinstance(numbers[k], int | float)]
    wanted = task.metric if "," in task.metric else f"{task.metric},none"
    if wanted not in metrics:
        raise ValueError(
            f"lm-eval's '{name}' has no metric '{task.metric}'; it has"
            f" {', '.join(m.removesuffix(',none') for m in metrics)}"
        )
    better = {m: direction for one in results["higher_is_better"].values() for m, direction in one.items()}
    metric, _, chosen_filter = wanted.partition(",")
    items: Items = []
    chances = []
    for leaf, samples in sorted(results["samples"].items()):
        for sample in sorted((s for s in samples if s["filter"] == chosen_filter), key=lambda s: s["doc_id"]):
            value = sample.get(metric)
            choices = len(sample["arguments"]) if isinstance(sample["resps"][0][0], list | tuple) else 0
            chances.append(1 / choices if choices > 1 else 0.0)
            items.append(
                {
                    "id": f"{leaf}/{sample['doc_id']}",
                    "question": question_key(question_of(sample["doc"], task.shipped.question_fields)),
                    "value": float(value) if isinstance(value, int | float) else None,
                    "size": 1,
                    "answer": sample["target"],
                    "prompt_hash": sample["prompt_hash"],
                }
            )
    rows: Rows = []
    for m in metrics:
        short, _, used = m.partition(",")
        row: dict[str, Scalar] = {
            "metric": m.removesuffix(",none"),
            "value": float(numbers[m]),
            "stderr": finite(numbers.get(f"{short}_stderr,{used}")),
        }
        is_main = m == wanted
        rows.append(
            row
            | {
                "main": is_main,
                "higher_is_better": bool(better.get(short, True)),
                "chance": sum(chances) / len(chances) if is_main and chances else None,
            }
        )
    return rows, items


# ------------------------------------------------------------------ numbers


def item_score(items: Sequence[dict[str, object]]) -> tuple[float, float | None]:
    """Score of these items and its standard error."""
    return ratio([float(str(i["value"])) for i in items], [int(str(i["size"])) for i in items])


def ratio(amounts: Sequence[float], sizes: Sequence[int]) -> tuple[float, float | None]:
    """Sum of amounts over sum of sizes, and its standard error over documents drawn at random (delta method; None for
    one document).
    """
    total, n = sum(sizes), len(sizes)
    value = math.fsum(amounts) / total
    if n < 2:
        return value, None
    residuals = math.fsum((a - value * s) ** 2 for a, s in zip(amounts, sizes, strict=True))
    return value, math.sqrt(n / (n - 1) * residuals) / total


def finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
