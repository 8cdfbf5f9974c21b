"""`neo fetch-demo`: the demo site, without running anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.fingerprint import ROOT
from neo_assets.crawl.demo_site import MANUALS, fetch_demo_site


def demo_folder() -> Path:
    return Path(os.environ.get("NEO_DATA") or ROOT / "data" / "demo")


def fetch_demo(
    manuals: Annotated[bool, typer.Option("--manuals", help="the pages of the recipe `manuals` instead")] = False,
) -> None:
    """Download and unpack the demo site's Debian packages; nothing is installed."""
    if manuals:
        print(f"manuals in {fetch_demo_site(demo_folder().parent / 'manuals', MANUALS)}")
    else:
        print(f"demo site in {fetch_demo_site(demo_folder())}")
