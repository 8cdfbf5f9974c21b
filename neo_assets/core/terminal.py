"""How commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from neo_assets.core.fingerprint import ROOT


def program(name: str) -> str:
    """How to call a program of this environment from here, as it can be typed."""
    path = Path(sys.executable).with_name(name)
    if (found := shutil.which(name)) and Path(found) == path:
        return name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def dagster_job(job: str) -> str:
    """The command that runs a job of Dagster's, as it can be typed from here."""
    here = "" if Path.cwd().resolve() == ROOT else f"-d {ROOT} "
    return f"{program('dagster')} job execute {here}-m definitions -j {job}"


NARROW = 24
"""Columns that the widest text needs to be folded into; with less, lines run on: a table of broken words cannot be
read.
"""
FOLDED = 500
"""Rows that are folded to fit a terminal; of more, which nobody reads from the first to the last, each is one line
(rich takes a millisecond a row).
"""
JSON = typer.Option(False, "--json", help="print JSON")


def show(rows: Sequence[Mapping[str, object]], as_json: bool, title: str = "", empty: str = "nothing") -> None:
    """Print rows as a table without the columns that are empty in every row, or as a JSON list of everything."""
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False, indent=1, default=str))
        return
    if not rows:
        print(empty)
        return
    if title:
        print(title)  # not the table's own title, which is folded to the table's width
    cells = [{name: _cell(row[name]) for name in rows[0]} for row in rows]
    filled = [name for name in rows[0] if any(row[name] for row in cells)]
    right = {
        name
        for name in filled
        if all(
            (isinstance(row[name], int | float) and not isinstance(row[name], bool)) or str(row[name]).endswith("%")
            for row in rows
            if row[name] is not None
        )
    }
    widths = {name: max(cell_len(name), *(cell_len(row[name]) for row in cells)) for name in filled}
    told = max((name for name in filled if name not in right), key=lambda name: widths[name], default="")
    console = Console(soft_wrap=False)
    rest = console.width - sum(widths.values()) - 2 * len(filled) + widths.get(told, 0)
    if not console.is_terminal or len(rows) > FOLDED or rest < NARROW:
        print("\n".join(_lines([dict(zip(filled, filled, strict=True)), *cells], filled, right)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in filled:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name != told, overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in filled))
    console.print(table)


def bar(part: float, whole: float, longest: float, width: int) -> str:
    """A bar as wide as ``whole`` is of ``longest``, filled as far as ``part``; what is not nothing is seen."""
    if longest <= 0:
        return ""
    filled = max(round(width * part / longest), 1 if part else 0)
    return "█" * filled + "░" * (max(round(width * whole / longest), filled) - filled)


def _lines(cells: Sequence[Mapping[str, str]], names: Sequence[str], right: Collection[str]) -> list[str]:
    """Columns side by side, each as wide as its widest cell: a file or a pipe has no edge to fold lines at."""
    padded = []
    for name in names:
        widths = [cell_len(row[name]) for row in cells]
        widest = max(widths)
        spaces = [" " * (widest - width) for width in widths]
        padded.append(
            [
                space + row[name] if name in right else row[name] + space
                for row, space in zip(cells, spaces, strict=True)
            ]
        )
    return ["  ".join(parts).rstrip() for parts in zip(*padded, strict=True)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
