"""`neo release`: a release as a folder to give away, signed. `neo verify-release`: whether one is what it says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Artifact, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.release import layout

KEY = "NEO_SIGNING_KEY"


def release(
    folder: Annotated[Path, typer.Argument(help="where the bundle is written; it must not be there yet")],
    unsigned: Annotated[bool, typer.Option("--unsigned", help=f"without a signature, where {KEY} is not set")] = False,
    to: Annotated[
        str | None, typer.Option("--push", help="OWNER/NAME of a repository on the Hugging Face hub to send it to")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="a new repository is one that everybody sees")] = False,
) -> None:
    """Write the recipe's release into a folder, signed with the private key (PEM, P-256) that NEO_SIGNING_KEY names.

    With --push it is sent to the hub as well (HF_TOKEN, HF_ENDPOINT): the model at the root, the bundle in `release/`,
    and a revision for each checkpoint that led to it and is whole, which is exported if it has not been.
    """
    recipe, store = load(), Store(store_root())
    if recipe.release is None:
        raise BadInput(f"recipe '{recipe.name}' has no `release`: with `release: {{run: …}}` the factory makes one")
    made = store.head(recipe.name, "release")
    _refuse_new_tombstones(store, recipe.name)
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
    if to is not None:
        from neo_assets.release.push import push

        address = push(folder, to, _revisions(recipe, store, made), public, print)
        print(f"sent to {address}, and read back: every file is the one that was sent")


def _revisions(recipe: Recipe, store: Store, release: Artifact) -> dict[str, Path]:
    """Exports of the whole checkpoints that led to a release, by what their revisions are called."""
    from neo_assets.evaluate.by_hand import exporter_of
    from neo_assets.runs.found_runs import run_of

    found: dict[str, Path] = {}
    for part in json.loads(release.file(layout.RELEASE).read_text(encoding="utf-8"))["parts"]:
        run = run_of(store, part["run"], part["run_fingerprint"])
        exporter = exporter_of(recipe, store, run.name, print)
        for step, folder in run.whole_checkpoints().items():
            if step in part["certified"]:
                made = store.require(f"checkpoint/{run.name}", folder.name)
                tokens = json.loads(made.file("certificate.json").read_text(encoding="utf-8"))["trained_tokens"]
                found[f"{run.name}-step{step:07d}-tokens{tokens}"] = exporter.exported(made)[0].path
    return found


def _refuse_new_tombstones(store: Store, recipe: str) -> None:
    """Raises BadInput where tombstones were recorded that the build has not looked for yet."""
    from neo_assets.core.tombstones import in_the_corpus, targets_digest
    from neo_assets.core.withdrawn import KEY

    looked_for = store.head(recipe, KEY).manifest.made_from.config.get("tombstones")
    if looked_for != targets_digest(in_the_corpus(store.root)):
        raise BadInput(
            "tombstones were recorded since this release was made (`neo takedown --list`): run the factory job, which"
            " makes `withdrawn`, and what it changes"
        )


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
