"""`neo demo`, `neo ui`, `neo why`, `neo gc`, `neo verify`, `neo summary`, `neo home`, `neo schema`: the factory as a
whole.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core import records
from neo_assets.core.errors import BadInput, DamagedArtifact, MissingUpstream, NeoError, did_you_mean
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import JobState, age, job_folders
from neo_assets.core.place import dagster_home, store_root
from neo_assets.core.recipe import Recipe, json_schema, load
from neo_assets.core.recipe.load import DEFAULT_RECIPE
from neo_assets.core.store import Artifact, Store
from neo_assets.core.terminal import JSON, counted, show
from neo_assets.core.why import differences
from neo_assets.house.gc import gc
from neo_assets.runs.run_commands import show_claims
from resources.compute import open_compute
from resources.compute.base import Compute

LONGEST_REASON = 150
"""Characters of a gate's reasons that `neo summary` prints; the report has them all."""


def register(app: typer.Typer) -> None:
    for command in (demo, ui, summary, why, gc, verify, home, schema):
        app.command()(command)


# ------------------------------------------------------------------ run


def demo() -> None:
    """Fetch the demo site, run the whole factory on it, and say where everything is."""
    from neo_assets.crawl.commands import fetch_demo

    if load().name == DEFAULT_RECIPE:
        fetch_demo(manuals=False)
    began = time.time()
    code = run_dagster(["job", "execute", "-m", "definitions", "-j", "factory"])
    if code:
        raise typer.Exit(code)
    print(f"\n{age(time.time() - began)} in all.")
    summary(as_json=False, since=began)


def run_dagster(arguments: list[str]) -> int:
    """Run a `dagster` command on the recipe's instance; Ctrl-C ends the Dagster run and explains what goes on."""
    recipe = load()
    command = [sys.executable, "-m", "dagster", *arguments]
    print("$ dagster " + " ".join(arguments), flush=True)
    environment = {**os.environ, "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore")}
    environment.setdefault("DAGSTER_HOME", str(make_home(recipe.name)))
    # A process group of its own: the terminal's Ctrl-C comes here, and Dagster alone is told, not its log helpers.
    process = subprocess.Popen(command, cwd=ROOT, env=environment, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        print(
            "\nCtrl-C: the Dagster run is stopping. What is finished stays; run the same command again to go on.",
            flush=True,
        )
        running = [f for f in job_folders(store_root()) if _compute().poll(f) is JobState.RUNNING]
        for folder in running:
            short = folder.fingerprint[:12]
            print(
                f"{folder.title} trains on without it, as job {short}:\n  neo jobs                see it\n  neo logs -f"
                f" {short}   follow it\n  neo cancel {short}    stop it\nThe next run attaches to it."
            )
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        return 130


def _compute() -> Compute:
    return open_compute(load().compute, store_root())


def ui(port: Annotated[int, typer.Option(help="port on the loopback interface")] = 3000) -> None:
    """Open the web UI (webserver and daemon, loopback only) on this recipe's instance."""
    recipe = load()
    environment = {
        **os.environ,
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(make_home(recipe.name)),
        "PYTHONWARNINGS": "ignore",
    }
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NeoError(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror}). Is the UI running already? Another one:"
                f" neo ui --port {port + 1}"
            ) from error
    print(f"recipe '{recipe.name}': http://127.0.0.1:{port}  (Ctrl-C stops the UI; jobs go on)", flush=True)
    os.chdir(ROOT)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell starts `neo ui &` with SIGINT ignored, and it would stay so
    command = [sys.executable, "-m", "dagster", "dev", "-m", "definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execve(sys.executable, command, environment)  # signals reach Dagster itself


def make_home(recipe: str) -> Path:
    """DAGSTER_HOME of a recipe's instance, made when it is not there. Its paths are absolute: it is the same instance
    from every working directory.

    That of the default recipe is the one which the repository's own dagster.yaml means, from the repository's root.
    """
    folder = dagster_home(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    place = ROOT / ".dagster" if recipe == DEFAULT_RECIPE else folder
    lines = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    text = re.sub(r"base_dir: \.dagster([\w/]*)", lambda found: f"base_dir: {json.dumps(str(place) + found[1])}", lines)
    if not (folder / "dagster.yaml").is_file() or (folder / "dagster.yaml").read_text(encoding="utf-8") != text:
        records.write_text(folder / "dagster.yaml", text)
    return folder


def home(recipe: Annotated[str | None, typer.Argument(help="recipe; $NEO_RECIPE if left out")] = None) -> None:
    """Make the Dagster instance of a recipe and print what to set for it."""
    name = recipe or os.environ.get("NEO_RECIPE") or DEFAULT_RECIPE
    print(f"export NEO_RECIPE={shlex.quote(name)} DAGSTER_HOME={shlex.quote(str(make_home(load(name).name)))}")


# ------------------------------------------------------------------ see


def summary(as_json: bool = JSON, since: Annotated[float, typer.Option(hidden=True)] = 0.0) -> None:
    """The scores of this recipe's build, and where its report is."""
    recipe = load()
    store = Store(store_root())
    rows, waiting = [], []
    for run in recipe.runs:
        if store.head_pointer(recipe.name, f"evaluation/{run}") is None:
            waiting.append(run)
            continue
        scores = json.loads(
            store.head(recipe.name, f"evaluation/{run}").file("scores.json").read_text(encoding="utf-8")
        )
        rows += [
            {
                "run": run,
                "step": r["step"],
                "task": r["task"],
                "metric": r["metric"],
                "value": r["value"],
                "stderr": r["stderr"],
                "n": r["n"],
                "chance": r["chance"],
            }
            for r in scores
            if r["headline"]
        ]
    if as_json:
        show(rows, as_json=True)
        return
    if waiting == list(recipe.runs):
        store.head(recipe.name, f"evaluation/{waiting[0]}")  # says what to do
    show(rows, as_json=False, title="Scores")
    if waiting:
        print(f"not evaluated yet: {', '.join(waiting)}")
    if (pointer := store.head_pointer(recipe.name, "comparison")) and (comparison := store.find(*pointer)):
        print()
        for check in comparison.verdict:
            said = check.detail if len(check.detail) <= LONGEST_REASON else check.detail[:LONGEST_REASON] + " …"
            print(f"{'pass' if check.passed else 'REFUSED' if check.blocking else 'warning':8} {check.name}: {said}")
        print(f"Scores, curves, what was written, every gate's reasons in full: {comparison.file('scores.html')}")
        store.head(recipe.name, "comparison")  # a refused one ends it here
    if store.head_pointer(recipe.name, "factory_report") is None:
        print("\nThere is no report yet: the job 'factory' makes it.")
        return
    report = store.head(recipe.name, "factory_report").file("report.html")
    heads = [
        a
        for a in (store.find(*pointer) for name, pointer in current_heads(recipe, store).items() if "@" not in name)
        if a
    ]
    fresh = [a for a in heads if (a.path / "manifest.json").stat().st_mtime >= since]
    if since:
        print(
            f"\n{len(fresh)} of {len(heads)} artifacts were made now, {len(heads) - len(fresh)} were reused."
            + ("" if fresh else " Nothing was recomputed.")
        )
    print(f"\nReport: {report}\nWeb UI: make ui\nThe story of one page: neo fate URL")


def why(
    asset: Annotated[str, typer.Argument(help="e.g. clean_docs/en (or clean_docs_en, as Dagster writes it)")],
    as_json: bool = JSON,
) -> None:
    """Why an asset would be made again: the recipe field, module, library or input that changed."""
    from neo_assets.build import artifact_named, stages

    recipe = load()
    store = Store(store_root())
    entries = stages(recipe)
    asset = artifact_named(asset, entries, recipe)
    pointer = store.head_pointer(recipe.name, asset)
    if pointer is None:
        lines = [
            f"recipe '{recipe.name}' has not asked for {asset} yet; what others made under the same recipe, code and"
            " inputs would be found"
        ]
    else:
        made = store.find(*pointer)
        entry = entries[asset]
        inputs = {}
        for name in entry.reads:
            try:
                inputs[name] = store.head(recipe.name, name)
            except NeoError as error:
                print(f"input {name}: {error}", file=sys.stderr)
        lines = (
            differences(made.manifest.made_from, entry.expected(made.manifest.made_from, inputs))
            if made
            else [f"{asset}: its folder {store.folder(*pointer)} is gone"]
        )
        if not lines:  # what the refused one was made from may have changed since
            lines = _upstream(asset, recipe.name, store)
        lines += [f"refused: {c.name}: {c.detail}" for c in (made.refused_by if made else [])]
    show([{"asset": asset, "because": line} for line in lines], as_json, empty=f"{asset} is up to date")


def _upstream(asset: str, recipe: str, store: Store) -> list[str]:
    """Stale ancestors of an asset that is itself as its inputs would make it."""
    from neo_assets.build import stages

    entries = stages(load())
    waiting, seen, out = list(entries[asset].reads), set(), []
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        entry = entries[name]
        waiting += entry.reads
        pointer = store.head_pointer(recipe, name)
        made = store.find(*pointer) if pointer else None
        try:
            inputs = {n: store.head(recipe, n) for n in entry.reads}
        except NeoError:
            continue
        if made is None:
            out.append(f"upstream {name} has never been made")
        elif changed := differences(made.manifest.made_from, entry.expected(made.manifest.made_from, inputs)):
            out += [f"upstream {name}: {line}" for line in changed]
    return out


# ------------------------------------------------------------------ keep


def current_heads(recipe: Recipe, store: Store) -> dict[str, tuple[str, str]]:
    """What the recipe's build uses, without what the recipe no longer has (a branch or a run that was taken out)."""
    from neo_assets.build import stages

    known = {*stages(recipe), *(f"{stage}/{run}" for stage in ("hf_model", "eval_scores") for run in recipe.runs)}
    return {name: pointer for name, pointer in store.heads(recipe.name).items() if name.split("@")[0] in known}


def checkpoints(store: Store, runs: set[str]) -> list[tuple[str, Path]]:
    """(key, folder) of every checkpoint of the training runs with these fingerprints."""
    short = {fingerprint[:8] for fingerprint in runs}
    return [
        (key, folder)
        for key, fingerprint, folder in store.all()
        if key.startswith("checkpoint/") and fingerprint.split("-")[-1] in short
    ]


def scores(store: Store, recipe: Recipe) -> list[tuple[str, Path]]:
    """(key, folder) of every score of the recipe's runs: tables and curves are made of them, whichever build names
    them.
    """
    from neo_assets.evaluate.index import read_scores
    from neo_assets.runs.asked import not_anothers

    mine = {run: not_anothers(store, recipe.name, run) for run in recipe.runs}
    try:
        rows = read_scores(store).select(["run", "checkpoint", "fingerprint"]).to_pylist()
    except DamagedArtifact:
        rows = []  # it is named when it is looked at; whose the others are, their rows would say
    anothers = {
        r["fingerprint"] for r in rows if r["run"] in mine and not mine[r["run"]](r["checkpoint"].rpartition("-")[2])
    }
    folders = [
        (run, manifest.parent)
        for run in recipe.runs
        for manifest in sorted((store.root / "eval_scores" / run).glob("[!.]*/manifest.json"))
    ]
    return [(f"eval_scores/{run}", folder) for run, folder in folders if folder.name not in anothers]


def verify(
    asset: Annotated[
        str | None, typer.Argument(help="asset key, or RUN@STEP; everything this recipe's build uses if left out")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="hash every file")] = False,
    as_json: bool = JSON,
) -> None:
    """Check that artifacts on disk are what their manifests say; of a checkpoint (RUN@STEP), everything its certificate
    claims.
    """
    recipe = load()
    store = Store(store_root())
    if asset is not None and "@" in asset and "/" not in asset:
        show_claims(recipe, store, asset, as_json)
    heads = current_heads(recipe, store)
    runs = {fingerprint for key, fingerprint in heads.values() if key.startswith("pretraining/")}
    heads |= {
        f"{key}@{folder.name}": (key, folder.name)
        for key, folder in [*checkpoints(store, runs), *scores(store, recipe)]
    }
    if asset is not None:
        from neo_assets.declare import label

        known = heads
        heads = {
            name: pointer
            for name, pointer in heads.items()
            if asset in (name, label(name), name.split("@")[0], label(name.split("@")[0]))
        }
        if asset in recipe.runs:
            raise BadInput(
                f"a checkpoint of run '{asset}' is named {asset}@STEP, as in {asset}@last; its training is"
                f" pretraining/{asset}"
            )
        if not heads:
            raise MissingUpstream(
                f"nothing named '{asset}' is built for recipe '{recipe.name}'.{did_you_mean(asset, known)}"
            )
    if not heads:
        raise MissingUpstream(f"nothing is built for recipe '{recipe.name}'")
    problems = []
    for name, pointer in heads.items():
        try:
            made: Artifact | None = store.find(*pointer)
        except NeoError as error:
            problems.append(str(error))
            continue
        if made is None:
            problems.append(f"{name}: {pointer[1][:12]} is not in the store")
        elif deep:
            problems += store.verify(made)
    if as_json:
        show([{"artifacts": len(heads), "deep": deep, "problems": problems}], as_json)
        raise typer.Exit(1 if problems else 0)
    for problem in problems:
        print(problem, file=sys.stderr)
    by_step = sum("@" in name for name in heads)
    print(
        f"{counted(len(heads), 'artifact')} checked ({len(heads) - by_step} of the build, {by_step} of single training"
        f" steps: checkpoints, models, scores; {'every file hashed' if deep else 'manifests and sizes'}),"
        f" {counted(len(problems), 'problem')}"
    )
    raise typer.Exit(1 if problems else 0)


def schema() -> None:
    """Print the JSON schema of recipe files, for editors."""
    print(json.dumps(json_schema(), ensure_ascii=False, indent=1))
