"""Scores mean what they say: an all-knowing model gets full marks on every kind of task, and one broken task costs only
itself.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.jobs import STOPPED, JobFolder
from tests.training.folders import ROWS, SHAPE, command_of, identities, run_program, running, save_model, write_spec
from training.evaluate import EvaluateConfig, evaluate, load, repetition
from training.harness import ratio, score, stream_model
from training.sandbox import SandboxUnavailable
from training.tasks import TASKS_FILE, CodeLimits, Task, write_tasks

CONFIG: dict[str, object] = {
    "tasks": {name: {"task": name} for name in ("bpb", "cloze", "quiz")},
    "folders": dict.fromkeys(("bpb", "cloze", "quiz", "samples"), "x"),
    "batch_size": 4,
    "threads": 1,
    "device": "cpu",
    "dtype": "fp32",
    "seed": 0,
    "samples": {"en": ["Once upon a time"], "zh": ["从前"]},
    "sample_tokens": 5,
    "repetition_penalty": 1.2,
}
QUIZ = [
    {"id": "q1", "question": "2 + 2?", "choices": ["3", "4", "5"], "answer": 1},
    {"id": "q2", "question": "{{ 7 * 7 }} and {answer}?", "choices": ["forty-nine of them", "no"], "answer": 0},
    {"id": "q3", "question": "水的化学式？\n", "choices": ["氢", "H2O", "氧气"], "answer": 1},
]
CLOZE = [
    {"id": f"c{i}", "context": f"第{i}句。", "choices": ["然后呢。", "所以如此。"], "answer": i % 2} for i in range(4)
]
DOCUMENTS = [
    {"id": "d1", "text": "Plain text with {{ braces }} and <|end|>.\n" * 9},
    {"id": "d2", "text": "中文文本。" * 30},
    {"id": "d3", "text": "x"},
]


def _task(name: str, kind: str, lines: list[dict[str, object]], **more: Any) -> tuple[Task, str]:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    given = {"lang": "en", "licence": "CC0", "chance": 0.5, "metric": "acc_norm", "description": name} | more
    return (
        Task(
            name=name,
            kind=kind,
            file=f"{name}.jsonl",
            data_digest=digest_bytes(text.encode()),
            items=len(lines),
            **given,
        ),
        text,
    )


def write_folder(folder: Path, quiz: list[dict[str, object]] = QUIZ) -> Path:
    folder.mkdir(parents=True)
    tasks = [
        _task("quiz", "multiple_choice", quiz, prompt="Question: {question}\nAnswer:", delimiter=" "),
        _task("cloze", "multiple_choice", CLOZE, prompt="{context}", lang="zh"),
        _task("bpb", "loglikelihood_rolling", DOCUMENTS, metric="bits_per_byte", chance=8.0),
    ]
    for task, text in tasks:
        (folder / task.file).write_text(text, encoding="utf-8")
    (folder / TASKS_FILE).write_text(write_tasks(t for t, _ in tasks), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def evaluated(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = tmp_path_factory.mktemp("job")
    (job / "home").mkdir()
    done = run_program(
        write_spec(
            job, "training.evaluate", CONFIG, {"hf_model": model, "benchmark_items": write_folder(job / "tasks")}
        ),
        HOME=str(job / "home"),
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return job


def _rows(job: Path, task: str) -> dict[str, dict[str, Any]]:
    return {r["metric"]: r for r in json.loads((job / "out" / "x" / f"{task}.json").read_text())}


# ------------------------------------------------------------------ does a task score right?


def _oracle(right: bool, bits_per_byte: float) -> Any:
    """A model that knows every answer (or avoids it), and codes text at a fixed rate."""
    from lm_eval.api.model import LM

    truth = {_prompt(i): " " + i["choices"][i["answer"]] for i in QUIZ} | {
        i["context"]: i["choices"][i["answer"]] for i in CLOZE
    }

    class Oracle(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            return [(-1.0 if (truth[r.args[0]] == r.args[1]) is right else -1000.0, False) for r in requests]

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            return [-bits_per_byte * math.log(2) * len(r.args[0].encode()) for r in requests]

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            raise NotImplementedError

        def tok_encode(self, text: str) -> list[str]:
            return list(text)

    return Oracle()


def _prompt(item: dict[str, Any]) -> str:
    return f"Question: {item['question']}\nAnswer:"


def test_requests_that_are_longer_than_the_model_reads_are_counted_not_only_cut(model: Path, tmp_path: Path) -> None:
    """lm-eval cuts them from the left, which takes the examples away, and shows the score as if they had been read."""
    long = [*QUIZ, {"id": "long", "question": "x" * 2 * SHAPE.context, "choices": ["a", "b", "c", "d"], "answer": 0}]
    folder = write_folder(tmp_path / "tasks", long)
    config = EvaluateConfig.model_validate(CONFIG)
    lm = stream_model(*load(model, config), 4, "cpu")
    tasks = {t.name: t for t in _read(folder)}
    found = {}
    for name, task in tasks.items():
        rows, _ = score(lm, task, folder / task.file, tmp_path / "scratch", 0)
        found[name] = {(r["cut"], r["requests"]) for r in rows}
    exact = (
        SHAPE.context + 1 - len("Question: \nAnswer: ") - 1
    )  # with its one-letter answer just as long as the model reads
    edge = [{"id": f"e{n}", "question": "x" * (exact + n), "choices": ["a", "b"], "answer": 0} for n in (0, 1)]
    folder = write_folder(tmp_path / "edge", edge)
    rows, _ = score(
        lm, next(t for t in _read(folder) if t.name == "quiz"), folder / "quiz.jsonl", tmp_path / "scratch", 0
    )
    assert (found["quiz"], found["cloze"]) == ({(4, 12)}, {(0, 8)})
    assert {cut for cut, _ in found["bpb"]} == {
        0
    }  # a long text is read window by window, and nothing of it is left out
    assert (rows[0]["cut"], rows[0]["requests"]) == (2, 4)


@pytest.mark.parametrize(("right", "expected"), [(True, 1.0), (False, 0.0)])
def test_an_all_knowing_model_scores_1_and_its_opposite_0(tmp_path: Path, right: bool, expected: float) -> None:
    folder = write_folder(tmp_path / "tasks")
    for name, lines in (("quiz", QUIZ), ("cloze", CLOZE)):
        task = next(t for t in _read(folder) if t.name == name)
        rows, items = score(_oracle(right, 0), task, folder / task.file, tmp_path / "scratch", 0)
        assert {r["metric"]: r["value"] for r in rows} == {"acc": expected, "acc_norm": expected, "acc_bytes": expected}
        assert [i["value"] for i in items] == [float(right)] * len(lines)
        assert [(i["chosen"] == i["answer"]) for i in items] == [right] * len(lines)
        assert [r["metric"] for r in rows if r["main"]] == ["acc_norm"]


def test_bits_per_byte_is_what_the_model_spent(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tasks")
    task = next(t for t in _read(folder) if t.name == "bpb")
    rows, items = score(_oracle(True, 2.5), task, folder / task.file, tmp_path / "scratch", 0)
    scores = {r["metric"]: r for r in rows}
    assert scores["bits_per_byte"]["value"] == pytest.approx(2.5)
    assert scores["bits_per_byte"]["stderr"] == pytest.approx(0, abs=1e-9)
    assert scores["bits_per_byte"]["higher_is_better"] is False
    spent = sum(2.5 * math.log(2) * len(d["text"].encode()) for d in DOCUMENTS)
    assert scores["nats_per_token"]["value"] == pytest.approx(spent / sum(len(d["text"]) for d in DOCUMENTS))
    assert [i["size"] for i in items] == [len(d["text"].encode()) for d in DOCUMENTS]


def _read(folder: Path) -> list[Task]:
    return [Task.model_validate(t) for t in json.loads((folder / TASKS_FILE).read_text(encoding="utf-8"))]


def test_the_error_of_a_ratio_is_the_spread_over_documents() -> None:
    values, sizes = [10.0, 24.0, 33.0], [10, 20, 30]
    value, stderr = ratio(values, sizes)
    assert value == pytest.approx(67 / 60)
    residuals = [v - value * s for v, s in zip(values, sizes, strict=True)]
    assert stderr == pytest.approx(math.sqrt(1.5 * sum(r * r for r in residuals)) / 60)
    assert ratio([5.0], [2]) == (2.5, None)


def test_log_likelihoods_of_documents_are_the_models_own(model: Path) -> None:
    """Against a plain forward pass: first token charged as a uniform draw, every other predicted from what precedes it
    in its window.
    """
    import torch
    from lm_eval.api.instance import Instance

    config = EvaluateConfig.model_validate(CONFIG)
    loaded, tokenizer = load(model, config)
    lm = stream_model(loaded, tokenizer, config.batch_size, config.device)
    text = "Short enough for one window. <|end|>"
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    assert tokenizer.eos_token_id not in ids.tolist()[0], "text that spells a special token is text"
    assert ids.shape[1] == len(text) < SHAPE.context
    with torch.no_grad():
        logs = loaded(input_ids=ids[:, :-1]).logits.log_softmax(-1)
    expected = logs[0].gather(-1, ids[0, 1:, None]).sum().item() - math.log(ROWS)
    long = "A text of several windows. " * 20
    got = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (t,), 0) for t in (text, long, "x")])
    assert got[0] == pytest.approx(expected, rel=1e-5)
    assert got[2] == pytest.approx(-math.log(ROWS))
    assert -got[1] / len(long) == pytest.approx(math.log(ROWS), rel=0.1), (
        "an untrained model spends about as much on every token, in every window"
    )


# ------------------------------------------------------------------ the program


def _run_here(spec: Path) -> int:
    return evaluate(running(spec))


def test_every_metric_is_a_row_with_all_that_a_table_needs(evaluated: Path) -> None:
    quiz = _rows(evaluated, "quiz")["acc_norm"]
    assert (
        quiz["n"] == 3
        and quiz["chance"] == 0.5
        and quiz["shots"] == 0
        and quiz["subset"] is None
        and quiz["lm_eval"]
        and quiz["main"]
    )
    assert quiz["identity"] == identities(evaluated / "tasks")["quiz"]
    assert 0 <= quiz["value"] <= 1 and quiz["stderr"] is not None
    assert set(_rows(evaluated, "bpb")) == {"bits_per_byte", "nats_per_token"}
    assert _rows(evaluated, "bpb")["bits_per_byte"]["value"] > 0
    samples = json.loads((evaluated / "out" / "x" / "samples.json").read_text())
    assert [s["lang"] for s in samples["samples"]] == ["en", "zh"]


def test_nothing_is_left_in_the_home_folder_or_the_scratch_folder(evaluated: Path) -> None:
    assert [p.name for p in (evaluated / "home").rglob("*") if p.is_file() and "huggingface" in p.as_posix()] == []
    assert not (evaluated / ".lm_eval").exists()


def test_a_broken_task_costs_only_its_own_score_and_running_again_gives_the_same_items(
    evaluated: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "HF_HUB_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HOME",
        "HF_DATASETS_CACHE",
        "TOKENIZERS_PARALLELISM",
        "TQDM_DELAY",
        "TQDM_MININTERVAL",
    ):
        monkeypatch.setenv(name, "")  # the program sets them; the test puts them back
    folder = tmp_path / "tasks"
    shutil.copytree(evaluated / "tasks", folder)
    (folder / "cloze.jsonl").write_text('{"id": "c0", "context": "', encoding="utf-8")
    spec = write_spec(tmp_path / "job", "training.evaluate", CONFIG, {"hf_model": model, "benchmark_items": folder})
    assert _run_here(spec) == 3
    out = tmp_path / "job" / "out" / "x"
    assert "JSONDecodeError" in (out / "cloze.error.txt").read_text()
    assert not (out / "cloze.json").exists()
    for name in ("bpb.items.jsonl", "quiz.items.jsonl", "samples.json"):
        assert (out / name).read_bytes() == (evaluated / "out" / "x" / name).read_bytes(), name

    # Mended and started again: only the missing task is run.
    shutil.copy(evaluated / "tasks" / "cloze.jsonl", folder / "cloze.jsonl")
    before = (out / "quiz.json").stat().st_mtime_ns
    assert _run_here(spec) == 0
    assert (out / "quiz.json").stat().st_mtime_ns == before
    assert (out / "cloze.items.jsonl").read_bytes() == (evaluated / "out" / "x" / "cloze.items.jsonl").read_bytes()
    assert not (out / "cloze.error.txt").exists()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "asked"])
def test_an_evaluation_that_was_killed_or_asked_to_stop_goes_on_with_the_next_task_and_the_results_are_the_same(
    how: str, evaluated: Path, model: Path, tmp_path: Path
) -> None:
    spec = write_spec(
        tmp_path / "job", "training.evaluate", CONFIG, {"hf_model": model, "benchmark_items": evaluated / "tasks"}
    )
    job, first = JobFolder(spec.parent), tmp_path / "job" / "out" / "x" / "bpb.json"
    environment = {**os.environ, "NEO_JOB_ATTEMPT": "1"}
    command, place = command_of(spec)
    process = subprocess.Popen(
        command,
        cwd=place,
        env={**environment, "PYTHONPATH": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not first.is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    if how == "asked":
        job.ask_to_stop("time limit")
    else:
        process.send_signal(signal.Signals[how])
    code = process.wait()
    if how != "SIGKILL" and code != 0:  # it may have come to its end before it looked
        assert code == STOPPED and job.stopped(1)
    (job.path / "stop").unlink(missing_ok=True)
    written = first.stat().st_mtime_ns
    again = run_program(spec)
    assert again.returncode == 0 and "bpb: already scored" in again.stdout
    assert first.stat().st_mtime_ns == written
    for name in ("bpb.items.jsonl", "cloze.items.jsonl", "quiz.items.jsonl", "samples.json"):
        assert (first.parent / name).read_bytes() == (evaluated / "out" / "x" / name).read_bytes(), name


def test_an_evaluation_needs_no_network(evaluated: Path, model: Path, tmp_path: Path) -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here (unshare --map-root-user --net)")
    spec = write_spec(
        tmp_path / "job", "training.evaluate", CONFIG, {"hf_model": model, "benchmark_items": evaluated / "tasks"}
    )
    command, place = command_of(spec)
    done = subprocess.run(
        [*alone, *command],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "job" / "out" / "x" / "quiz.items.jsonl").read_bytes() == (
        evaluated / "out" / "x" / "quiz.items.jsonl"
    ).read_bytes()


@pytest.mark.parametrize(
    ("tokens", "share"), [([], 1.0), ([1], 0.0), ([1, 2, 3, 4, 5, 6], 0.0), ([7] * 8, 0.8), ([1, 2] * 4, 0.6)]
)
def test_repetition_is_the_share_of_runs_of_four_that_came_before(tokens: list[int], share: float) -> None:
    assert repetition(tokens) == pytest.approx(share)


def test_a_program_that_is_right_passes_and_one_that_is_wrong_does_not(
    bubblewrap: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows the first function and not the second, through the whole path: asked by the harness, cut, run
    in the sandbox.
    """
    from lm_eval.api.model import LM

    monkeypatch.setenv("NEO_BWRAP", str(bubblewrap))
    items = [
        {
            "id": f"c{i}",
            "prompt": f"def double{i}(x):\n",
            "test": f"def double{i}(x):\n{{completion}}\nassert double{i}(4) == 8\n",
        }
        for i in range(2)
    ]
    made, text = _task(
        "code",
        "code",
        items,
        metric="pass@1",
        chance=0.0,
        stop=("\ndef",),
        max_tokens=20,
        limits=CodeLimits(cpu_s=2, memory_mb=256),
    )
    (tmp_path / "code.jsonl").write_text(text)

    class Programmer(LM):  # type: ignore[misc]
        max_length = 128

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            assert all(r.args[1]["until"] == ["\ndef"] and r.args[1]["max_gen_toks"] == 20 for r in requests)
            return ["    return 2 * x" if "double0" in r.args[0] else "    return x + 1" for r in requests]

    rows, scored = score(Programmer(), made, tmp_path / "code.jsonl", tmp_path / "scratch", 0)
    assert [(r["metric"], r["value"], r["n"]) for r in rows] == [("pass@1", 0.5, 2)]
    assert [i["value"] for i in scored] == [1.0, 0.0] and "AssertionError" in str(scored[1]["detail"])


def test_without_a_sandbox_no_program_is_run_and_the_reason_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_BWRAP", str(tmp_path / "nowhere"))
    made, _ = _task(
        "code",
        "code",
        [{"id": "c", "prompt": "", "test": "{completion}"}],
        metric="pass@1",
        limits=CodeLimits(cpu_s=2, memory_mb=256),
    )
    with pytest.raises(SandboxUnavailable, match="bubblewrap"):
        score(object(), made, tmp_path / "code.jsonl", tmp_path, 0)


def test_a_changed_item_changes_only_its_own_tasks_identity(tmp_path: Path) -> None:
    before = identities(write_folder(tmp_path / "a"))
    after = identities(write_folder(tmp_path / "b", quiz=[*QUIZ[:2], {**QUIZ[2], "answer": 0}]))
    assert [name for name in before if before[name] != after[name]] == ["quiz"]
