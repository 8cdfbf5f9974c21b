"""The `neo` command. Every stage brings its own commands; this file only puts them together and prints errors as people
read them.
"""

from __future__ import annotations

import io
import os
import sys

import typer

from neo_assets.clean import commands as clean
from neo_assets.core.errors import NeoError
from neo_assets.corpus import commands as corpus
from neo_assets.crawl import commands as crawl
from neo_assets.evaluate import commands as evaluate
from neo_assets.house import commands as house
from neo_assets.runs import commands as runs
from neo_assets.scores import commands as scores
from neo_assets.tasks import commands as tasks

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="NeoFoundry: what exists, why, and what runs.",
)
for room in (crawl, clean, corpus, runs, tasks, evaluate, scores, house):
    room.register(app)


def main() -> None:
    """Entry point; exit code 2 for errors that are the user's to solve, 130 for Ctrl-C."""
    # Under a locale that is not UTF-8 the bytes of an argument arrive one by one; they are UTF-8 all the same.
    sys.argv = [
        argument if argument.isprintable() else os.fsencode(argument).decode("utf-8", "replace")
        for argument in sys.argv
    ]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal that knows no Chinese shows question marks, and no traceback
    try:
        app()
    except NeoError as error:
        print(f"neo: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
