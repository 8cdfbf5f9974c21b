"""Scores by checkpoint and task, and the best of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from neo_assets.core.store import Row


def by_checkpoint(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, Row]]]:
    """Main scores of whole tasks by run, checkpoint (in step order) and task; of several attempts the first."""
    out: dict[str, dict[str, dict[str, Row]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda r: (str(r["run"]), int(str(r["step"])), int(str(r["attempt"])))):
        if row["main"] and row["subset"] is None:
            out[str(row["run"])].setdefault(str(row["checkpoint"]), {}).setdefault(str(row["task"]), row)
    return dict(out)


def best(checkpoints: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """The best score of every task over these checkpoints."""
    out: dict[str, Row] = {}
    for rows in checkpoints.values():
        for task, row in rows.items():
            if task not in out or better(row) > better(out[task]):
                out[task] = row
    return out


def better(row: Row) -> float:
    value = float(str(row["value"]))
    return value if row["higher_is_better"] else -value
