"""`neo trace`: from what a model wrote back to the documents that hold it, and to the steps that read them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Store, read_manifest
from neo_assets.core.terminal import JSON
from neo_assets.runs.found_runs import find_run, run_and_step

if TYPE_CHECKING:
    from neo_assets.trace.reads import Reader
    from neo_assets.trace.search import TraceIndex
    from neo_assets.trace.traced import Traced, Turn

_A_FILE = re.compile(r"[./~]*/[\w./-]+|[\w./~-]+\.(txt|md|json|jsonl)", re.ASCII)
_A_CHECKPOINT = re.compile(r"[a-z][a-z0-9_]*@(\d+|last)")
"""Words that nobody means as a text. A line of Chinese has no space either, and may hold a slash."""


def trace_text(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TEXT | FILE | RUN@STEP",
            help="what is traced: a text, a file with one or with a conversation (JSON: role and content a turn), - for"
            " what is piped in; with --prompt the model that writes it",
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="RUN@STEP goes on from this text, and what it writes is traced")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="at most so many are written")] = 80,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: the likeliest token each time")] = 0.0,
    seed: Annotated[int, typer.Option(help="of what is drawn above temperature 0")] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="every passage, however short or common, and not only the rarest")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="the text as one passage, and no part of it")] = False,
    share: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="passages told for a word of the text; the recipe's if left out"),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="write a page of HTML, too")] = None,
    as_json: bool = JSON,
) -> None:
    """Passages of a text that stand verbatim in the training pool: documents, and the steps that read them. Verbatim is
    not cause.
    """
    from neo_assets.trace.hidden import Hidden
    from neo_assets.trace.index import KEY
    from neo_assets.trace.reads import readers, steps_that_read
    from neo_assets.trace.search import TraceIndex
    from neo_assets.trace.told import in_text, write_page
    from neo_assets.trace.traced import EVERYTHING, trace

    recipe, store = load(), Store(store_root())
    if recipe.trace is None:
        raise BadInput(f"recipe '{recipe.name}' has no `trace`: with `trace: {{}}` in it the factory makes {KEY}")
    if page is not None and not page.parent.is_dir():
        raise BadInput(f"{page}: there is no folder {page.parent}")
    index = TraceIndex(store.head(recipe.name, KEY))
    if prompt is None:
        turns, who = [_sole(what)] if exact else turns_of(what), readers(store, recipe)
    else:
        turns, who = _written(what, prompt, recipe, store, tokens, temperature, seed)
    if prompt is None and not any(turn.text.strip() for turn in turns if turn.traced):
        raise BadInput("there is no text to trace")
    settings = recipe.trace if share is None else recipe.trace.model_copy(update={"share": share})
    if everything or exact:
        settings = settings.model_copy(update=EVERYTHING)
    hidden = Hidden.now(store, recipe.name)
    found = trace(index, turns, settings, lambda spans, sizes: steps_that_read(who, spans, sizes), hidden)
    if exact and not _is_one(found):
        nowhere = "The training pool has this text nowhere as a whole; without --exact its passages are told."
        if found.withdrawn and not found.told:
            nowhere = "This text stands only in documents that were withdrawn."
        print(json.dumps(found.plain() | {"told": []}, ensure_ascii=False, indent=1) if as_json else nowhere)
        raise typer.Exit(1)
    notes = other_pools(index, who) + ([hidden.note] if hidden.note else [])
    if not who:
        notes.append("no run has been trained on the pool yet: there are no steps to be told")
    if page is not None:
        write_page(page, found, notes)
    if as_json:
        print(json.dumps(found.plain() | {"notes": notes}, ensure_ascii=False, indent=1))
        return
    print(in_text(found, notes))
    if page is not None:
        print(f"\npage: {page}")


# ------------------------------------------------------------------ what is traced


def turns_of(what: str) -> list[Turn]:
    """A text, the text of a file, or the turns of a conversation in one. Raises BadInput."""
    from neo_assets.trace.traced import Turn

    if what == "-":
        return [Turn(sys.stdin.read())]
    try:
        is_file = Path(what).is_file()
    except OSError:  # longer than a name of a file can be
        is_file = False
    if not is_file:
        if _A_FILE.fullmatch(what):
            raise BadInput(f"there is no file {what}")
        if _A_CHECKPOINT.fullmatch(what):
            raise BadInput(f"{what} is a checkpoint: say with --prompt what it goes on from, '' for nothing")
        return [Turn(what)]
    try:
        text = Path(what).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{what}: no UTF-8 ({error})") from error
    return conversation_of(what, text) if what.endswith((".json", ".jsonl")) else [Turn(text)]


def conversation_of(name: str, text: str) -> list[Turn]:
    """Turns of a conversation as JSON: a list of them, one a line, or ``messages`` of an object. Those of the
    assistant are traced; all, if nobody is called so.
    """
    from neo_assets.trace.traced import Turn

    try:
        told: Any = [json.loads(line) for line in text.splitlines() if line] if name.endswith("l") else json.loads(text)
    except ValueError as error:
        raise BadInput(f"{name}: not JSON ({error})") from error
    if isinstance(told, list) and len(told) == 1 and isinstance(told[0], dict) and "messages" in told[0]:
        told = told[0]
    if isinstance(told, dict):
        told = told.get("messages")
    if not isinstance(told, list):
        raise BadInput(f"{name}: a conversation is a list of turns, or an object with `messages`")
    turns = []
    for number, turn in enumerate(told, 1):
        content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if not isinstance(content, str):
            raise BadInput(f"{name}: turn {number} has no text in `content`")
        turns.append(Turn(content, str(turn.get("role", turn.get("from", "")))))
    answers = {turn.role for turn in turns} & {"assistant", "gpt", "bot"}
    return [Turn(t.text, t.role, not answers or t.role in answers) for t in turns]


def _sole(what: str) -> Turn:
    """A text as one passage. Raises BadInput for a conversation."""
    turns = turns_of(what)
    if len(turns) != 1:
        raise BadInput("--exact takes one text, no conversation")
    return turns[0]


def _is_one(found: Traced) -> bool:
    return len(found.told) == 1 and found.told[0].units == found.units


def _written(
    model: str, prompt: str, recipe: Recipe, store: Store, tokens: int, temperature: float, seed: int
) -> tuple[list[Turn], list[Reader]]:
    """What a checkpoint writes after a text, and who had read the pool before it."""
    from neo_assets.evaluate.by_hand import subject_of
    from neo_assets.evaluate.generate import write_on
    from neo_assets.trace.reads import readers_before
    from neo_assets.trace.traced import Turn

    name, step = run_and_step(model)
    run = find_run(store, recipe, name)
    step, _ = run.checkpoint(step)
    called = f"{name}@{step}"
    subject = subject_of(called, recipe, store, quiet=True)
    said = write_on(
        subject.folder,
        prompt,
        recipe.evaluation,
        tokens=tokens,
        temperature=temperature,
        seed=seed,
        called=called,
    )
    turns = [Turn(prompt, "prompt", traced=False), Turn(said.text, called)]
    return turns, readers_before(store, run, step)


def other_pools(index: TraceIndex, who: Sequence[Reader]) -> list[str]:
    """A line for each run that was trained on another build of the pool than the index is of."""
    mine = index.artifact.manifest.made_from.inputs["train_pool"].digest
    lines = []
    for reader in who:
        used = read_manifest(reader.parts[0][0].shards).made_from.inputs.get("train_pool")
        if used is not None and used.digest != mine:
            lines.append(
                f"{reader.name} was trained on another build of the training pool: what it read and this one lacks is"
                " not found"
            )
    return lines
