"""How commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Table

WIDE = 240
JSON = typer.Option(False, "--json", help="print JSON")


def show(rows: Sequence[Mapping[str, object]], as_json: bool, title: str = "", empty: str = "nothing") -> None:
    """Print rows as a table without the columns that are empty in every row, or as a JSON list of everything."""
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False, indent=1, default=str))
        return
    if not rows:
        print(empty)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    filled = [name for name in rows[0] if any(_cell(row[name]) for row in rows)]
    for name in filled:
        values = [row[name] for row in rows if row[name] is not None]
        table.add_column(name, justify="right" if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in filled))
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDE  # a file or a pipe has no edge to fold lines at
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
