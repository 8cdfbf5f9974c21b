"""The `neo` command: which function is which command, and errors as people read them.

A command's module is imported when the command is called; the list of all reads their descriptions from the files.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer import _click as click

GROUPS = {
    "First steps": {
        "init": "house.init:init",
        "demo": "house.factory:demo",
        "ui": "house.factory:ui",
        "plan": "house.plan:plan",
        "status": "house.status:status",
        "summary": "house.summary:summary",
    },
    "Text": {
        "fate": "corpus.commands:fate",
        "funnel": "corpus.funnel_table:funnel",
        "sample": "corpus.commands:sample",
        "whatif": "clean.commands:whatif",
    },
    "Training": {
        "jobs": "runs.commands:jobs",
        "logs": "runs.commands:logs",
        "watch": "runs.commands:watch",
        "pause": "runs.commands:pause",
        "resume": "runs.commands:resume",
        "cancel": "runs.commands:cancel",
        "saw": "runs.run_commands:saw",
        "when": "runs.run_commands:when",
        "prove": "runs.run_commands:prove_checkpoint",
        "continue": "runs.run_commands:continue_run",
        "rehearse": "runs.run_commands:rehearse_run",
        "compare-runs": "house.compare_runs:compare_runs",
    },
    "Evaluation": {
        "generate": "evaluate.generate:generate",
        "chat": "chat.commands:chat",
        "eval": "evaluate.commands:evaluate",
        "tasks": "evaluate.commands:tasks",
        "scores": "scores.commands:scores",
        "compare": "scores.commands:compare",
        "duel": "scores.duel:duel",
    },
    "Transparency": {
        "paper": "paper.commands:paper",
        "site": "site.commands:site",
        "lineage": "house.lineage:lineage",
        "diff": "difference.commands:diff",
        "trace": "trace.commands:trace_text",
        "takedown": "takedown.commands:takedown",
        "release": "release.commands:release",
        "verify-release": "release.commands:verify",
    },
    "Store": {
        "why": "house.why:why",
        "verify": "house.verify:verify",
        "gc": "house.gc:gc",
        "send": "house.send:send",
    },
    "Set-up": {
        "home": "house.factory:home",
        "schema": "house.schema:schema",
        "fetch-demo": "crawl.commands:fetch_demo",
        "fetch-benchmarks": "house.benchmarks:fetch_benchmarks",
    },
}
"""Group -> command -> module below `neo_assets` and function, in the order `neo --help` shows them."""
COMMANDS = {name: place for group in GROUPS.values() for name, place in group.items()}
HERE = Path(__file__).parent


def described(place: str) -> str:
    """The description of a command, from its file: the function's docstring."""
    module, function = place.split(":")
    tree = ast.parse(HERE.joinpath(*module.split(".")).with_suffix(".py").read_bytes())
    node = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    return unwrapped(ast.get_docstring(node) or "")


def unwrapped(text: str) -> str:
    """Paragraphs as single lines: a terminal breaks them where it ends, not where our files do."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


class Commands(TyperGroup):
    """Imports a command when it is called."""

    listing = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        if self.listing:
            group = next(group for group, names in GROUPS.items() if cmd_name in names)
            return TyperCommand(cmd_name, help=described(place), rich_help_panel=group)
        module, function = place.split(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(cmd_name)(getattr(importlib.import_module(f"neo_assets.{module}"), function))
        command = typer.main.get_command(app)
        command.help = unwrapped(command.help or "")
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.listing = False

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        self.listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.listing = False

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"there is no command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"NeoFoundry {version('neofoundry')}, Python {sys.version.split()[0]}, in {HERE.parent}")
        raise typer.Exit


@app.callback()
def neo(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is, and where.")
    ] = False,
) -> None:
    """NeoFoundry: what exists, why, and what runs."""


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
    from neo_assets.core.errors import NeoError

    try:
        app()
    except NeoError as error:
        print(f"neo: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
