"""How commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Table

JSON = typer.Option(False, "--json", help="print JSON")


def show(rows: Sequence[Mapping[str, object]], as_json: bool, title: str = "", empty: str = "nothing") -> None:
    """Print rows as a table, or as a JSON list."""
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False, indent=1, default=str))
        return
    if not rows:
        print(empty)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) and not isinstance(value, bool) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(soft_wrap=False).print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
