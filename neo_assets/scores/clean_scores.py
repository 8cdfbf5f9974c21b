"""Scores without the items that stand in the training text.

A score's items are read once for each set of items that is left out: what came of it is kept in one Parquet file beside
the score index. Scores never change, so it stays true; delete the file and it is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import pyarrow as pa

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.here import here
from neo_assets.core.recipe.evaluation import whole_task
from neo_assets.core.store import Store
from neo_assets.evaluate.rows import ScoreRow
from training.harness import detectable, item_score

CLEAN = "clean"
"""Name of the subset that is left."""
FILE = "clean_scores.parquet"
KEPT = pa.schema(
    [
        ("fingerprint", pa.string()),
        ("left_out", pa.string()),
        ("n", pa.int64()),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
    ]
)

Part = tuple[int, float | None, float | None]
"""Items left, their score, its standard error."""


def clean_scores(rows: Sequence[ScoreRow], flagged: Mapping[str, Sequence[str]], store: Store) -> list[ScoreRow]:
    """For each of these scores that rests on ``flagged`` items (names by task): the score without them, as a row of its
    own.
    """
    names = {task: set(items) for task, items in flagged.items() if items}
    left_out = {task: digest_json(sorted(items)) for task, items in names.items()}
    known = _known(store)
    made: dict[tuple[str, str], Part] = {}
    out: list[ScoreRow] = []
    for row in rows:
        task = whole_task(row["task"], names)
        if task not in names:
            continue
        which = (row["fingerprint"], left_out[task])
        if which not in known:
            made[which] = known[which] = _without(row, names[task], store)
        n, value, stderr = known[which]
        if n < row["n"]:
            found = None if value is None else detectable(value, stderr, n)
            counts = {"n": n, "value": value, "stderr": stderr, "detectable": found}
            out.append(cast("ScoreRow", {**row, "subset": CLEAN, "main": False, **counts}))
    if made:
        _keep(store, known)
    return out


def _without(row: ScoreRow, names: set[str], store: Store) -> Part:
    lines = here(store.root / row["samples"]).read_text(encoding="utf-8").split("\n")
    items = [item for line in lines if line if (item := json.loads(line))["value"] is not None]
    left = [item for item in items if str(item["id"]) not in names and item.get("question") not in names]
    if len(left) == len(items):
        return row["n"], None, None
    return len(left), *(item_score(left) if left else (None, None))


def _known(store: Store) -> dict[tuple[str, str], Part]:
    file = store.root / FILE
    if not file.is_file():
        return {}
    try:
        columns = records.read_table(file, KEPT).to_pydict()
    except BadInput:
        return {}  # torn or of an older form: everything is read again
    return dict(
        zip(
            zip(columns["fingerprint"], columns["left_out"], strict=True),
            zip(columns["n"], columns["value"], columns["stderr"], strict=True),
            strict=True,
        )
    )


def _keep(store: Store, known: Mapping[tuple[str, str], Part]) -> None:
    rows = [
        {"fingerprint": f, "left_out": o, "n": n, "value": value, "stderr": stderr}
        for (f, o), (n, value, stderr) in known.items()
    ]
    records.write_table(pa.Table.from_pylist(rows, schema=KEPT), store.root / FILE)
