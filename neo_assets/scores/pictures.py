"""Pictures of scores for the web UI: small multiples over tokens, and a heat map. The page (`scores.html`) shows the
same and lets one choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from neo_assets.evaluate.rows import ScoreRow

COLUMNS = 3
MOST_TASKS, MOST_CHECKPOINTS = 12, 60
"""More are thinned: the page has them all."""


def draw_curves(rows: Sequence[ScoreRow], file: Path) -> None:
    """One small chart a task: value over tokens with one standard error either way, a dashed line at chance; a line
    ends where the task's identity changes.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(r["task"] for r in rows))[:MOST_TASKS]
    height = -(-len(tasks) // COLUMNS)
    figure = Figure(figsize=(11, 2.6 * height), layout="constrained")
    axes = figure.subplots(height, COLUMNS, squeeze=False).flat
    for axis, task in zip(axes, tasks, strict=False):
        mine = [r for r in rows if r["task"] == task]
        lines: dict[tuple[str, str], list[ScoreRow]] = defaultdict(list)
        for row in mine:
            lines[row["run"], row["identity"]].append(row)
        for (run, _), points in lines.items():
            points = sorted(points, key=lambda r: r["tokens"])
            x, y = [r["tokens"] for r in points], [r["value"] for r in points]
            error = [(r["stderr"] or 0) for r in points]
            old = not points[0]["current"]
            axis.plot(
                x,
                y,
                marker="o",
                markersize=3,
                linestyle=":" if old else "-",
                label=f"{run}, as asked before" if old else run,
            )
            axis.fill_between(
                x,
                [v - e for v, e in zip(y, error, strict=True)],
                [v + e for v, e in zip(y, error, strict=True)],
                alpha=0.2,
            )
        if mine[0]["chance"] is not None and mine[0]["higher_is_better"]:
            axis.axhline(mine[0]["chance"], linestyle="--", linewidth=0.8, color="grey")
        axis.set_title(f"{task}, {mine[0]['metric']}", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7)
    for axis in list(axes):
        axis.set_visible(False)
    figure.supxlabel("tokens trained on", fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def draw_heat_map(rows: Sequence[ScoreRow], file: Path) -> None:
    """Checkpoints down, tasks across; the colour runs from the worst score of a task to its best."""
    from matplotlib.figure import Figure

    checkpoints = list(dict.fromkeys((r["run"], r["step"]) for r in rows))
    every = max(1, -(-len(checkpoints) // MOST_CHECKPOINTS))
    shown = checkpoints[::-every][::-1]
    tasks = list(dict.fromkeys(r["task"] for r in rows))
    values = {(r["run"], r["step"], r["task"]): r["value"] for r in rows}
    better = {r["task"]: 1 if r["higher_is_better"] else -1 for r in rows}
    columns: dict[str, list[float]] = defaultdict(list)
    for (_, _, task), value in values.items():
        columns[task].append(better[task] * value)
    ends = {task: (min(column), max(column)) for task, column in columns.items()}
    grid = []
    for run, step in shown:
        line = []
        for task in tasks:
            low, high = ends[task]
            found = values.get((run, step, task))
            line.append(float("nan") if found is None else (better[task] * found - low) / ((high - low) or 1))
        grid.append(line)
    figure = Figure(figsize=(1.6 + 0.9 * len(tasks), 1.2 + 0.22 * len(shown)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(grid, aspect="auto", cmap="viridis", vmin=0, vmax=1)
    for i, (run, step) in enumerate(shown):
        for j, task in enumerate(tasks):
            here = values.get((run, step, task))
            if here is not None:
                axis.text(
                    j,
                    i,
                    f"{here:.3g}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if grid[i][j] < 0.6 else "black",
                )
    axis.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right", fontsize=7)
    axis.set_yticks(range(len(shown)), [f"{run} {step:,}" for run, step in shown], fontsize=7)
    if every > 1:
        axis.set_title(f"every {every}th of {len(checkpoints):,} checkpoints", fontsize=8)
    figure.savefig(file, metadata={"Date": None})
