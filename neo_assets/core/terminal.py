"""How commands print: a table for people, JSON for programs."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known words, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def program(name: str) -> str:
    """How to call a program of this environment from here, as it can be typed."""
    path = Path(sys.executable).with_name(name)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def counted(n: int, what: str) -> str:
    """'1 artifact', '2 artifacts'."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


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
    if title:
        print(title)  # not the table's own title, which is folded to the table's width
    table = Table(box=None, pad_edge=False, header_style="bold")
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
