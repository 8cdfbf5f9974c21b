"""`neo release`: a release as a folder to give away, signed. `neo verify-release`: whether one is what it says.
`neo takedown`: what a withdrawal reaches.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.words import counted

if TYPE_CHECKING:
    from neo_assets.release.withdrawal import OfRun

KEY = "NEO_SIGNING_KEY"


def release(
    folder: Annotated[Path, typer.Argument(help="where the bundle is written; it must not be there yet")],
    unsigned: Annotated[bool, typer.Option("--unsigned", help=f"without a signature, where {KEY} is not set")] = False,
) -> None:
    """Write the recipe's release into a folder, signed with the private key (PEM, P-256) that NEO_SIGNING_KEY names."""
    recipe, store = load(), Store(store_root())
    if recipe.release is None:
        raise BadInput(f"recipe '{recipe.name}' has no `release`: with `release: {{run: …}}` the factory makes one")
    made = store.head(recipe.name, "release")
    key = os.environ.get(KEY, "")
    if not key and not unsigned:
        raise BadInput(
            f"{KEY} names no private key. `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes one;"
            " --unsigned does without"
        )
    if folder.exists():
        raise BadInput(f"{folder} is there already")
    if key:
        from neo_assets.release.signing import private_key, sign

        private_key(Path(key))  # before anything is written
    shutil.copytree(made.path, folder, ignore=shutil.ignore_patterns("manifest.json", "verdict.json"))
    for name in made.manifest.files:  # those that were left out by their names alone
        if Path(name).name in ("manifest.json", "verdict.json") and name != "verdict.json":
            shutil.copyfile(made.file(name), folder / name)
    if key:
        sign(folder, Path(key))
    print(f"{folder}: {len(made.manifest.files)} files, {'signed' if key else 'not signed'}. Check it:")
    print(f"  neo verify-release {folder}")


def verify(
    folder: Annotated[Path, typer.Argument(help="a release", exists=True, file_okay=False)],
    key: Annotated[
        Path | None, typer.Option(help="its owner's public key (PEM), from elsewhere than the release", exists=True)
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Every claim of a release: proven, reproducible (and how), or only claimed. Needs no store and no network. Exits
    with 1 where something is not so.
    """
    from neo_assets.release.claims import REFUTED
    from neo_assets.release.verify import verify_release

    claims = verify_release(folder, key)
    rows = [{"claim": c.claim, "verdict": c.verdict, "detail": c.detail, "command": c.command} for c in claims]
    if as_json:
        show(rows, as_json)
    else:
        for claim in claims:
            print(f"{claim.verdict.upper():<13}{claim.claim}")
            print(f"{'':<13}{_in_a_line(claim.detail)}" + (f": {claim.command}" if claim.command else ""))
    raise typer.Exit(any(c.verdict == REFUTED for c in claims))


def _in_a_line(text: str) -> str:
    """Names of files may hold line breaks and escape codes, with which a page of claims could be forged."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def takedown(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS | ID | KIND:VALUE",
            help="a page, a document's id, or domain:example.org, prefix:http://…, licence:…, source:…",
        ),
    ],
    as_json: bool = JSON,
) -> None:
    """What a withdrawal reaches: the documents, their copies, and all that was made of them. It changes nothing."""
    from neo_assets.release.withdrawal import Asked, reached

    recipe, store = load(), Store(store_root())
    found = reached(store, recipe, Asked.of(what))
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
    if not found.pool and not found.copies:
        print("Nothing was trained on them.")
        return
    tokens = ", ".join(f"{n:,} tokens of token_shards/{phase}" for phase, n in found.tokens.items())
    print(f"{counted(len(found.files), 'file')} of train_pool, {found.bytes:,} bytes of text; {tokens}\n")
    show([_of_run(run) for run in found.runs], False, empty="no run has been started")
    print()
    for fingerprint in found.releases:
        print(f"release {fingerprint[:12]} lists them")
    print(
        "Training again begins at the checkpoint before the first step that read them, on text without them; a site"
        " nearly always means all of it. Nothing was changed."
    )


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
