"""`neo takedown`: what a withdrawal reaches, recording it, and what has to be trained again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from neo_assets.core.errors import BadInput, MissingUpstream
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import counted

if TYPE_CHECKING:
    from neo_assets.core.tombstones import Scope, Target
    from neo_assets.takedown.earlier import Earlier
    from neo_assets.takedown.reached import OfRun, Reached

SHOWN = 10


def takedown(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[ADDRESS | ID | KIND:VALUE]",
            help="a page, a document's id, or domain:example.org, prefix:http://…, licence:…, source:…, text_sha256:…;"
            " without it, with --plan: everything that is in force",
        ),
    ] = "",
    because: Annotated[
        str | None,
        typer.Option(
            "--because",
            help="record it, for this reason: opt-out, copyright, privacy, licence or illegal. From then on nothing is"
            " made of it",
        ),
    ] = None,
    reference: Annotated[str, typer.Option(help="of the request, say its ticket; who asked is not kept here")] = "",
    proof: Annotated[str, typer.Option(help="what shows that it may be asked for")] = "",
    received: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="day of the request; today if left out")] = "",
    scope: Annotated[
        str, typer.Option(help="who honours it: crawl, corpus, trace, release, with commas between; all if left out")
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="record which runs go on from which checkpoint, without it")
    ] = False,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="record what no document matches yet, or what is recorded already"),
    ] = False,
    everything: Annotated[bool, typer.Option("--list", help="tombstones of this store")] = False,
    revoke: Annotated[int | None, typer.Option(metavar="NUMBER", help="a tombstone that was a mistake")] = None,
    as_json: bool = JSON,
) -> None:
    """What a withdrawal reaches: the documents, their copies, and all that was made of them. It changes nothing, unless
    --because records it, or --plan what is trained again.
    """
    from neo_assets.core.tombstones import Target
    from neo_assets.takedown.kept import refuse_lost

    recipe, store = load(), Store(store_root())
    refuse_lost(store)
    given = [reference, proof, received, scope, anyway]
    if everything or revoke is not None:
        if what or because is not None or plan or any(given):
            raise BadInput("--list and --revoke go with nothing else")
        _list(store, as_json) if revoke is None else _revoke(store, revoke)
        return
    if not what and not plan:
        raise BadInput("say what must go: an address, a document's id, or KIND:VALUE (--help)")
    if because is None and any(given):
        raise BadInput("--reference, --proof, --received, --scope and --anyway are of what is recorded: say --because")
    if what and plan and because is None:
        raise BadInput(f"--plan is for what is recorded: say --because, or leave {what[:80]} out")
    if what and because is None:
        _tell(store, recipe, Target.of(what), what, as_json)
    elif what:
        _record(store, recipe, Target.of(what), str(because), received, reference, proof, scope, anyway)
    if plan:
        _plan(store, recipe, as_json)


# ------------------------------------------------------------------ the answer


def _tell(store: Store, recipe: Recipe, target: Target, what: str, as_json: bool) -> None:
    from neo_assets.takedown.reached import reached

    found = reached(store, recipe, target)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1))
        return
    if not found.crawled:
        print(f"No document of this build matches {what}; `neo fate` finds addresses that look alike.")
        raise typer.Exit(1)
    pool = len(found.pool)
    print(
        f"{counted(found.crawled, 'crawled document')} {'matches' if found.crawled == 1 else 'match'} {what};"
        f" {pool:,} of them {'is' if pool == 1 else 'are'} in the training pool"
    )
    if found.copies:
        more = counted(len(found.copies), "more document")
        print(f"{more} there stayed in the place of copies among them: the same text")
    if found.heldout:
        print(f"{counted(len(found.heldout), 'document')} of what is held out: models are tested with them")
    if found.tombstones:
        print(f"Withdrawn: tombstone {', '.join(map(str, found.tombstones))}")
    if not found.pool and not found.copies:
        print("Nothing was trained on them.")
        return
    _tell_what_was_made(found)
    print(
        "Training again begins at the checkpoint before the first step that read them, on text without them; a site"
        " nearly always means all of it. Nothing was changed: "
        + ("--plan says what is to be made again." if found.tombstones else "--because REASON records the withdrawal.")
    )


def _tell_what_was_made(found: Reached) -> None:
    tokens = ", ".join(f"{n:,} tokens of token_shards/{phase}" for phase, n in found.tokens.items())
    print(f"{counted(len(found.files), 'file')} of train_pool, {found.bytes:,} bytes of text; {tokens}")
    if found.alike:
        more = f", {SHOWN} told" if len(found.alike) > SHOWN else ""
        print(f"{counted(len(found.alike), 'other document')} of the pool with long passages of theirs{more}:")
        for other in found.alike[:SHOWN]:
            print(f"  {other.units:,} words or characters of {other.of[:12]} in {other.url} ({other.doc_id[:12]})")
    print()
    show([_of_run(run) for run in found.runs], False, empty="no run has been started")
    print()
    for fingerprint in found.releases:
        print(f"release {fingerprint[:12]} lists them")
    for run, names in found.exports.items():
        print(f"{counted(len(names), 'export')} of {run} with them: {', '.join(name[:12] for name in names[:SHOWN])}")
    for one in found.earlier:
        print(_of_earlier(one))


def _of_earlier(one: Earlier) -> str:
    steps = f"{counted(len(one.checkpoints), 'checkpoint')}, {one.checkpoints[0]} to {one.checkpoints[-1]}"
    if one.unknown:
        return f"run {one.run} {one.fingerprint} as it was before ({steps}): what it read cannot be told any more"
    return f"run {one.run} {one.fingerprint} as it was before has them from step {one.first} on: {steps}"


def _of_run(run: OfRun) -> dict[str, object]:
    def those(steps: list[int]) -> str:
        return f"{len(steps)}: {steps[0]}..{steps[-1]}" if len(steps) > 1 else ", ".join(map(str, steps)) or "none"

    has = f"through {run.through}" if run.through else "" if run.first is None else f"from step {run.first} on"
    begins = "" if not has else f"step {run.again_from}" if run.again_from is not None else "the beginning"
    return {
        "run": run.run,
        "has them": has or "no",
        "steps that read": f"{run.steps:,} of {run.last:,}",
        "checkpoints with them": those(run.checkpoints),
        "scored": those(run.scored),
        "again from": begins,
        "steps again": run.again_steps or None,
        "hours again": run.hours if run.again_steps else None,
    }


# ------------------------------------------------------------------ recording


def _record(
    store: Store,
    recipe: Recipe,
    target: Target,
    because: str,
    received: str,
    reference: str,
    proof: str,
    scope: str,
    anyway: bool,
) -> None:
    from neo_assets.core.tombstones import REASONS, SCOPES, in_force, read_tombstones, record
    from neo_assets.takedown.reached import documents_of

    if because not in REASONS:
        raise BadInput(f"'{because}' is no reason: {', '.join(REASONS)}")
    scopes = [word.strip() for word in scope.split(",")] if scope else list(SCOPES)
    if unknown := [word for word in scopes if word not in SCOPES]:
        raise BadInput(f"'{unknown[0]}' honours nothing: {', '.join(SCOPES)}")
    _refuse_no_day(received)
    there = read_tombstones(store.root)
    chosen = cast("list[Scope]", scopes)
    known = [t.number for t in there if t.target == target and all(t in in_force(there, one) for one in chosen)]
    if known and not anyway:
        raise BadInput(f"tombstone {known[0]} says so already; --anyway records it once more")
    try:
        named, held = documents_of(store, recipe, [target])
        told = f"{counted(len(named), 'crawled document')}, {counted(len(held), 'document')} of the corpus"
    except MissingUpstream:
        named, told = {""}, "what it reaches is known when the corpus is made"
    if not named and not anyway:
        raise BadInput(
            f"no document of this build matches {target}: nothing was recorded. `neo fate` finds addresses that look"
            " alike; --anyway records it, for what is yet to be crawled"
        )
    stone = record(
        store.root,
        target,
        because,
        received=received,
        reference=reference,
        proof=proof,
        scope=chosen,
    )
    print(f"tombstone {stone.number}: {target}, {because}; honoured by {', '.join(stone.scope)} from now on; {told}")
    print("Builds honour it when they are next made; what was trained on it stays until then: --plan")


def _refuse_no_day(text: str) -> None:
    import datetime

    try:
        day = datetime.date.fromisoformat(text) if text else datetime.date.min
    except ValueError as error:
        raise BadInput(f"'{text}' is no day: YYYY-MM-DD") from error
    if day > datetime.datetime.now(datetime.UTC).date():
        raise BadInput(f"{text} is yet to come")


def _revoke(store: Store, number: int) -> None:
    from neo_assets.core.tombstones import read_tombstones, record, still_in_force

    there = {stone.number: stone for stone in read_tombstones(store.root)}
    if number not in there:
        raise BadInput(f"there is no tombstone {number}; `neo takedown --list` has all {len(there)}")
    stone = record(store.root, there[number].target, there[number].reason, revokes=number)
    left = [t.number for t in still_in_force(store.root) if t.target == there[number].target]
    told = f"still withdrawn by {', '.join(map(str, left))}" if left else "may be used again, when builds are next made"
    print(f"tombstone {stone.number} supersedes {number}: {there[number].target} {told}")
    print("What --plan recorded for it stays in the recipe's file of branches until it is taken out there.")


def _list(store: Store, as_json: bool) -> None:
    from neo_assets.core.tombstones import read_tombstones

    stones = read_tombstones(store.root)
    if as_json:  # a line each, as they are kept
        for stone in stones:
            print(json.dumps(stone.model_dump(mode="json"), ensure_ascii=False))
        return
    gone = {stone.supersedes for stone in stones}
    rows = [
        {
            "number": stone.number,
            "what": str(stone.target),
            "reason": stone.reason,
            "received": stone.received,
            "reference": stone.reference,
            "honoured by": ", ".join(stone.scope),
            "status": "superseded" if stone.number in gone else stone.status,
        }
        for stone in stones
    ]
    show(rows, False, empty="no tombstone")


# ------------------------------------------------------------------ training again


def _plan(store: Store, recipe: Recipe, as_json: bool) -> None:
    from neo_assets.runs.run_commands import recipe_file
    from neo_assets.takedown.retrain import plan, write_branches

    stones, again = plan(store, recipe)
    why = "without tombstone " + ", ".join(str(stone.number) for stone in stones)
    lines = write_branches(store, recipe, again, why, recipe_file(), load)
    if as_json:
        print(json.dumps([asdict(one) for one in again], ensure_ascii=False, indent=1))
        return
    if not stones:
        print("No tombstone is in force.")
        return
    rows = [
        {
            "run": one.run,
            "begins": "anew" if one.begins is None else f"at step {one.begins:,}",
            "steps": one.steps,
            "hours": one.hours,
            "because": one.because,
        }
        for one in again
    ]
    show(rows, False, empty="no run has read what is withdrawn")
    for line in lines:
        print(line)
    if again:
        print("\nThe factory makes it: `neo status` tells what is to be made, and the line that starts it.")
