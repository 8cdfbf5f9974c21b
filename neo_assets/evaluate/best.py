"""Scores by checkpoint and task, and the best of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from neo_assets.evaluate.rows import ScoreRow


def by_checkpoint(rows: Sequence[ScoreRow]) -> dict[str, dict[str, dict[str, ScoreRow]]]:
    """Main scores of whole tasks by run, checkpoint (in step order) and task; of several attempts the first."""
    out: dict[str, dict[str, dict[str, ScoreRow]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda r: (r["run"], r["step"], r["attempt"])):
        if row["main"] and row["subset"] is None:
            out[row["run"]].setdefault(row["checkpoint"], {}).setdefault(row["task"], row)
    return dict(out)


def best(checkpoints: Mapping[str, Mapping[str, ScoreRow]]) -> dict[str, ScoreRow]:
    """The best score of every task over these checkpoints."""
    out: dict[str, ScoreRow] = {}
    for rows in checkpoints.values():
        for task, row in rows.items():
            if task not in out or better(row) > better(out[task]):
                out[task] = row
    return out


def better(row: ScoreRow) -> float:
    value = row["value"]
    return value if row["higher_is_better"] else -value
