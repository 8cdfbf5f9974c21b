"""Pictures of scores for the web UI: small multiples over tokens, and a heat map. The page (`scores.html`) shows the
same and lets one choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from neo_assets.evaluate.rows import ScoreRow
from neo_assets.pages.charts import Cell, Line, Point, beside, curves, heat_map, write_picture

COLUMNS = 3
MOST_TASKS, MOST_CHECKPOINTS = 12, 60
"""More are thinned: the page has them all."""


def draw_curves(rows: Sequence[ScoreRow], file: Path) -> None:
    """One small chart a task: value over tokens with one standard error either way, a dashed line at chance; a line
    ends where the task's identity changes.
    """
    charts = []
    for task in list(dict.fromkeys(r["task"] for r in rows))[:MOST_TASKS]:
        mine = sorted((r for r in rows if r["task"] == task), key=lambda r: r["tokens"])
        lines: dict[tuple[str, str, bool], list[Point]] = defaultdict(list)
        for r in mine:
            lines[r["run"], r["identity"], r["current"]].append(Point(r["tokens"], r["value"], r["stderr"]))
        told = [
            Line(points, run if current else f"{run}, as asked before", dotted=not current)
            for (run, _, current), points in sorted(lines.items(), key=lambda line: not line[0][2])
        ]
        chance = mine[0]["chance"] if mine[0]["higher_is_better"] else None
        title = f"{task}, {mine[0]['metric']}"
        charts.append(curves(title, told, "tokens trained on", chance=chance, marks=True))
    write_picture(beside(charts, COLUMNS), file)


def draw_heat_map(rows: Sequence[ScoreRow], file: Path) -> None:
    """Checkpoints down, tasks across; the colour runs from the worst score of a task to its best."""
    checkpoints = list(dict.fromkeys((r["run"], r["step"]) for r in rows))
    every = max(1, -(-len(checkpoints) // MOST_CHECKPOINTS))
    shown = set(checkpoints[::-every])
    goodness: dict[str, list[float]] = defaultdict(list)
    for r in rows:
        goodness[r["task"]].append(r["value"] if r["higher_is_better"] else -r["value"])
    ends = {task: (min(values), max(values)) for task, values in goodness.items()}

    def share(row: ScoreRow) -> float:
        low, high = ends[row["task"]]
        return ((row["value"] if row["higher_is_better"] else -row["value"]) - low) / ((high - low) or 1)

    cells = [
        Cell(f"{r['run']} {r['step']:,}", r["task"], r["value"], share(r))
        for r in rows
        if (r["run"], r["step"]) in shown
    ]
    title = f"every {every}th of {len(checkpoints):,} checkpoints" if every > 1 else ""
    write_picture(heat_map(cells, title), file)
