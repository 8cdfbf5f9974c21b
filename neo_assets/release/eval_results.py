"""Scores as the Hugging Face hub reads them: ``weights/.eval_results/‹task›.yaml``, a file for each benchmark that has
a data set there. Scores on questions of our own are on the model card alone: the hub has no data set of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from neo_assets.release import layout

FOLDER = f"{layout.WEIGHTS}/.eval_results"


def eval_results(rows: Sequence[Mapping[str, Any]], benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Files by their names in the release, of ``rows`` of headline scores; ``benchmarks``: as the recipe has them."""
    files = {}
    for row in rows:
        told = benchmarks.get(row["task"], {})
        datasets = told.get("datasets") or []
        if not datasets:
            continue
        shots = told.get("shots") or 0
        entry = EvalResultEntry(
            dataset_id=datasets[0],
            task_id=told.get("task") or row["task"],
            value=row["value"],
            notes=f"{row['metric']}, {shots} shots, lm-eval, {row['n']} items, standard error {row['stderr']}",
        )
        text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
        files[f"{FOLDER}/{row['task']}.yaml"] = text
    return files
