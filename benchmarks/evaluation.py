"""Our evaluation job against lm-eval's own command line: the same model, the same tasks, the same numbers? ``python -m
benchmarks.evaluation [FOLDER] [ROUNDS]``.

FOLDER is a Hugging Face folder (the newest export of the store if left out). Asked are tasks that lm-eval ships, on
small data sets of ours in their form (a few-shot one, a generated one, a group of seven), and next-sentence and
translation items of the demo as YAML. Each round runs both programs one after the other from nothing, as a person
would; the command line is told where the definitions are, and still reads the 14,000 it ships.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.common import run_job
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobSpec
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.recipe.evaluation import Benchmark, Harness, Translation
from neo_assets.core.store import Store, Workspace
from neo_assets.tasks.benchmark_items import benchmark_items_input, collect_benchmarks
from tests.training.hub_data import write_hub_folder
from training.tasks import lm_eval_config, lm_eval_record, read_tasks

BATCH, SHOTS = 4, 2
ROOM = 1024
SEED = 1234
"""Which examples are shown: lm-eval's own default, and the recipes'."""
SHIPPED = {"arc": "arc_challenge", "gsm": "gsm8k", "math": "hendrycks_math"}


def benchmarks(hub: Path) -> dict[str, Benchmark]:
    common = {"kind": "harness", "path": str(hub), "lang": "en", "licence": "ours", "shots": SHOTS}
    hsk = load("laptop").evaluation.benchmarks["hsk_en_zh"]
    assert isinstance(hsk, Translation)
    return {
        "arc": Harness(
            task="arc_challenge",
            metric="acc_norm",
            datasets=["allenai/ai2_arc"],
            question_fields=["question"],
            **common,
        ),  # type: ignore[arg-type]
        "gsm": Harness(
            task="gsm8k",
            metric="exact_match,flexible-extract",
            datasets=["openai/gsm8k"],
            question_fields=["question"],
            **common,
        ),  # type: ignore[arg-type]
        "math": Harness(
            task="hendrycks_math",
            metric="exact_match",
            datasets=["EleutherAI/hendrycks_math"],
            question_fields=["problem"],
            **common,
        ),  # type: ignore[arg-type]
        "hsk": hsk.model_copy(update={"items": 300}),
    }


def roomy(model: Path, copy: Path) -> tuple[Path, int]:
    """The model with room for the 256 tokens that lm-eval lets these tasks write; it refuses shorter models. Returns
    (folder, tokens it reads at once).
    """
    config = json.loads((model / "config.json").read_text())
    if config["max_position_embeddings"] >= ROOM:
        return model, config["max_position_embeddings"]
    shutil.copytree(model, copy)
    (copy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": ROOM}))
    return copy, ROOM


def ours(model: Path, items: Path, names: list[str], work: Path) -> float:
    config: dict[str, object] = {
        "tasks": {n: {"task": n} for n in names},
        "folders": dict.fromkeys([*names, "samples"], "x"),
        "batch_size": BATCH,
        "threads": 2,
    }
    config |= {
        "device": "cpu",
        "dtype": "fp32",
        "seed": SEED,
        "samples": {},
        "sample_tokens": 1,
        "repetition_penalty": 1.0,
    }
    work.mkdir()
    given, program = {"hf_model": str(model), "items": str(items)}, "training.evaluate"
    spec = JobSpec(
        work_fingerprint="b", title="b", program=program, **claimed(program), config=config, inputs=given, out="out"
    )
    began = time.monotonic()
    run_job(spec, work)
    return time.monotonic() - began


def theirs(model: Path, hub: Path, own: Path, work: Path) -> float:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(work / "hf"),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "2",
    }
    arguments = f"pretrained={model},dtype=float32,add_bos_token=False"
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        arguments,
        "--tasks",
        ",".join([*SHIPPED.values(), "hsk"]),
        "--device",
        "cpu",
    ]
    command += [
        "--num_fewshot",
        str(SHOTS),
        "--batch_size",
        str(BATCH),
        "--include_path",
        str(own),
        "--output_path",
        str(work),
        "--log_samples",
    ]
    work.mkdir()
    began = time.monotonic()
    done = subprocess.run(command, cwd=hub, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return time.monotonic() - began


def numbers_of_ours(work: Path, names: list[str]) -> dict[str, float]:
    return {
        f"{n} {r['metric']}": r["value"]
        for n in names
        for r in json.loads((work / "out" / "x" / f"{n}.json").read_text())
    }


def numbers_of_theirs(work: Path) -> dict[str, float]:
    results = json.loads(next(work.rglob("results_*.json")).read_text())["results"]
    called = {**{task: name for name, task in SHIPPED.items()}, "hsk": "hsk"}
    return {
        f"{called[task]} {metric.removesuffix(',none')}": value
        for task, row in results.items()
        if task in called
        for metric, value in row.items()
        if "," in metric and "_stderr" not in metric
    }


def main() -> None:
    store = Store(store_root())
    model = (
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else max(
            (p.parent for p in store.root.glob("hf_model/*/*/config.json")),
            key=lambda p: p.stat().st_mtime,
            default=None,
        )
    )
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    if model is None:
        raise SystemExit("there is no exported model in the store: run `make demo`, or name a Hugging Face folder")
    names = ["arc", "gsm", "math", "hsk"]
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        hub, items, own = write_hub_folder(here / "hub"), here / "items", here / "own"
        own.mkdir()
        collect_benchmarks(benchmark_items_input(benchmarks(hub), ["en", "zh"]), {}, Workspace(items))
        task, data = read_tasks([items])["hsk"]
        (here / "hsk.jsonl").write_text(
            "".join(
                json.dumps(lm_eval_record(task, json.loads(line)), ensure_ascii=False) + "\n"
                for line in data.read_text().splitlines()
            )
        )
        model, longest = roomy(model, here / "model")
        (own / "hsk.yaml").write_text(
            yaml.safe_dump(lm_eval_config(task, here / "hsk.jsonl", here / "cache", longest), allow_unicode=True)
        )
        seconds: dict[str, list[float]] = {"ours": [], "lm-eval": []}
        for i in range(rounds):
            seconds["lm-eval"].append(theirs(model, hub, own, here / f"theirs{i}"))
            seconds["ours"].append(ours(model, items, names, here / f"ours{i}"))
            print(
                f"round {i + 1}: ours {seconds['ours'][-1]:.1f} s, lm-eval {seconds['lm-eval'][-1]:.1f} s", flush=True
            )
        a, b = numbers_of_ours(here / "ours0", names), numbers_of_theirs(here / "theirs0")
    differing = {k: (a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)}
    print(
        f"{len(a)} numbers of {len(names)} tasks: {len(a) - len(differing)} equal"
        + (f", these are not: {differing}" if differing else "")
    )
    print(
        f"ours / lm-eval: {median(x / y for x, y in zip(seconds['ours'], seconds['lm-eval'], strict=True)):.2f} of its"
        f" time (median of {rounds} rounds)"
    )


if __name__ == "__main__":
    main()
