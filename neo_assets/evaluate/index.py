"""Every score in the store as one table: checkpoint × task × metric × subset × attempt, under every identity there ever
was.

Score artifacts are many and small (a thousand checkpoints × twenty tasks are 20,000 folders), so their rows are kept
together in one Parquet file, each with the artifact it is from. Artifacts never change, so what is in the file is true
for as long as the artifact exists; what is new is read from its manifest and added, what is gone is left out. Delete
the file and it is made again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.here import here
from neo_assets.core.recipe import Recipe
from neo_assets.core.scalars import whole
from neo_assets.core.store import PARTIAL, Store, read_manifest
from training.spec import checkpoint_name

EVAL_SCORES = "eval_scores"
FILE = "score_index.parquet"
SCORES = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("checkpoint", pa.string()),
        ("task", pa.string()),
        ("lang", pa.string()),
        ("metric", pa.string()),
        ("subset", pa.string()),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
        ("detectable", pa.float64()),
        ("n", pa.int64()),
        ("shots", pa.int64()),
        ("requests", pa.int64()),
        ("cut", pa.int64()),  # requests that were longer than the model reads, and were cut from the left
        ("chance", pa.float64()),
        ("higher_is_better", pa.bool_()),
        ("main", pa.bool_()),
        ("attempt", pa.int64()),
        ("identity", pa.string()),
        ("lm_eval", pa.string()),
        ("fingerprint", pa.string()),
        ("samples", pa.string()),
        ("made_at", pa.string()),
    ]
)
"""``samples``: file of the per-item results, below the store; a row of task ``samples`` has no score, and the file of
what was written.
"""


def read_scores(store: Store, checkpoints: Mapping[str, set[str]] | None = None) -> pa.Table:
    """Rows of every score there is, or of these checkpoints by run; ordered by run, step, task, metric, subset and
    attempt.
    """
    there = _folders(store)
    table = _known(store)
    known = set(table.column("fingerprint").to_pylist())
    if new := sorted(set(there) - known):
        added = pa.Table.from_pylist(
            [row for fingerprint in new for row in _rows(store, there[fingerprint], fingerprint)], schema=SCORES
        )
        table = pa.concat_tables([table, added])
    if gone := known - set(there):
        table = table.filter(
            pc.invert(pc.is_in(table.column("fingerprint"), value_set=pa.array(sorted(gone), pa.string())))
        )
    if new or gone:
        with contextlib.suppress(OSError):  # somebody who may only read
            records.write_table(table, store.root / FILE)
    if checkpoints is not None:
        wanted = pa.array(
            sorted({f"{run}@{name}" for run, names in checkpoints.items() for name in names}), pa.string()
        )
        table = table.filter(
            pc.is_in(
                pc.binary_join_element_wise(table.column("run"), table.column("checkpoint"), "@"), value_set=wanted
            )
        )
    return table.sort_by(
        [(name, "ascending") for name in ("run", "step", "task", "metric", "subset", "attempt", "made_at")]
    )


def recipe_checkpoints(store: Store, recipe: str, trained: list[str]) -> dict[str, set[str]]:
    """Names of the exported checkpoints of a recipe's runs as they stand in its build today, by run; ``trained`` are
    the artifacts of their training.
    """
    folder = store.root / "builds" / recipe / "hf_model"
    out = {}
    for name in trained:
        run, pointer = name.partition("/")[2], store.head_pointer(recipe, name)
        out[run] = (
            {p.stem.partition("@")[2] for p in folder.glob(f"{run}@*-{pointer[1][:8]}.json")} if pointer else set()
        )
    return out


def tokens_before(recipe: Recipe, run: str, store: Store) -> int:
    """Tokens that a run's weights had been trained on when it began; 0 from scratch, from a foreign model, and for a
    branch, which counts its parent's as its own. Pairs of answers are not counted.

    Where the checkpoint it began with has been removed, the tokens its parent was to see until then.
    """
    parent = recipe.runs[run].parent
    if parent is None:
        return 0
    mine = tokens_before(recipe, parent.run, store) if recipe.parent_of(run) else 0
    if parent.take == "everything" or recipe.of_pairs(parent.run):
        return mine
    before = recipe.runs[parent.run]
    step = before.steps if parent.step is None else parent.step
    pointer = store.head_pointer(recipe.name, recipe.trained(parent.run))
    made = store.find(
        f"checkpoint/{parent.run}", checkpoint_name(step, parent.fingerprint or (pointer[1] if pointer else ""))
    )
    return mine + (
        whole(made.manifest.numbers["trained_tokens"]) if made else (step - before.first_step) * before.tokens_per_step
    )


def _known(store: Store) -> pa.Table:
    file = store.root / FILE
    if not file.is_file():
        return SCORES.empty_table()
    try:
        return records.read_table(file, SCORES)
    except BadInput:
        return SCORES.empty_table()  # torn or of an older form: everything is read again


def _folders(store: Store) -> dict[str, str]:
    """Run by fingerprint of every committed score."""
    store.learn(EVAL_SCORES)
    base = store.root / EVAL_SCORES
    if not base.is_dir():
        return {}
    out = {}
    for run in base.iterdir():
        with os.scandir(run) as entries:
            out.update({entry.name: run.name for entry in entries if not entry.name.startswith(PARTIAL)})
    return out


def _rows(store: Store, run: str, fingerprint: str) -> list[dict[str, object]]:
    folder = store.root / EVAL_SCORES / run / fingerprint
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return []
    attempt, made_at = manifest.made_from.config["attempt"], manifest.created_at
    common: dict[str, object] = {"fingerprint": fingerprint, "attempt": attempt, "made_at": made_at}
    out = []
    for row in manifest.tables.get("scores", []):
        out.append(row | common | {"samples": f"{EVAL_SCORES}/{run}/{fingerprint}/{row['task']}.items.jsonl"})
    for row in manifest.tables.get("samples", []):
        out.append(row | common | {"task": "samples", "samples": f"{EVAL_SCORES}/{run}/{fingerprint}/samples.json"})
    return out


def read_items(store: Store, samples: str) -> dict[str, tuple[float, int]]:
    """(value, size) of every item of a score, by item id; items that the metric does not judge alone are left out."""
    return {
        key: (float(item["value"]), int(item["size"]))
        for key, item in read_answers(store, samples).items()
        if item["value"] is not None
    }


def read_answers(store: Store, samples: str) -> dict[str, dict[str, Any]]:
    """All that is kept of every item of a score, by item id."""
    lines = here(store.root / samples).read_text(encoding="utf-8").split("\n")
    return {str(item["id"]): item for item in map(json.loads, filter(None, lines))}


def written(store: Store, samples: str) -> list[dict[str, object]]:
    """Prompts and continuations of one checkpoint."""
    found: list[dict[str, object]] = json.loads(here(store.root / samples).read_text(encoding="utf-8"))["samples"]
    return found
