"""`neo demo`, `neo ui`, `neo home`: run the whole factory, and see it in the browser."""

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
from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.jobs import JobState, job_folders
from neo_assets.core.place import dagster_home, store_root
from neo_assets.core.recipe import load
from neo_assets.core.recipe.load import DEFAULT_RECIPE
from neo_assets.core.words import age
from neo_assets.house.summary import summary
from resources.compute import open_compute

ON_THE_DEMO = ("chat", "scaling")
"""Recipes on the demo's text."""


def demo() -> None:
    """Fetch the demo site, run the whole factory on it, and say where everything is."""
    from neo_assets.crawl.commands import fetch_demo

    if load().name in (DEFAULT_RECIPE, *ON_THE_DEMO):
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
        compute = open_compute(recipe.compute, store_root())
        running = [f for f in job_folders(store_root()) if compute.poll(f) is JobState.RUNNING]
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


def ui(port: Annotated[int, typer.Option(help="port on the loopback interface")] = 3000) -> None:
    """Open the web UI (webserver and daemon, loopback only) on this recipe's instance."""
    from neo_assets.declare import PAGES
    from neo_assets.house.served import free_port

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
                f" neo ui --port {port + 100}"
            ) from error
    pages = free_port(port + 1)
    print(f"recipe '{recipe.name}': http://127.0.0.1:{port}  (Ctrl-C stops the UI; jobs go on)", flush=True)
    print(f"report, scores, every artifact: http://127.0.0.1:{pages}", flush=True)
    os.chdir(ROOT)
    environment[PAGES] = f"http://127.0.0.1:{pages}"
    subprocess.Popen(
        [sys.executable, "-m", "neo_assets.house.served", str(pages), f"http://127.0.0.1:{port}", str(os.getpid())],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
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
