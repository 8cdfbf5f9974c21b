"""Scores as the hub reads them."""

from __future__ import annotations

import yaml
from huggingface_hub import parse_eval_result_entries

from neo_assets.release.eval_results import eval_results


def test_a_benchmark_of_the_hub_has_its_file_and_our_own_questions_have_none() -> None:
    row = {"metric": "acc", "value": 0.5814, "n": 14042, "stderr": 0.004}
    rows = [{"task": "mmlu", **row}, {"task": "bits_per_byte_en", **row}]
    benchmarks = {"mmlu": {"datasets": ["cais/mmlu"], "task": "mmlu", "shots": 5}, "general_en": {}}
    files = eval_results(rows, benchmarks)
    assert list(files) == ["weights/.eval_results/mmlu.yaml"]
    (entry,) = parse_eval_result_entries(yaml.safe_load(files["weights/.eval_results/mmlu.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("cais/mmlu", "mmlu", 0.5814)
    assert entry.notes == "acc, 5 shots, lm-eval, 14042 items, standard error 0.004"
