"""The page of one artifact: what it says of itself, with its pictures, what it was made from and where that is seen;
and the page that lists them all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from neo_assets.core.recipe import Recipe
from neo_assets.core.store import Artifact, Row
from neo_assets.pages.page import render
from neo_assets.scores.gates import verdict_in_words

TEMPLATE, STYLE = Path(__file__).with_name("artifact.html.j2"), Path(__file__).with_name("artifact.css")
INDEX = Path(__file__).with_name("index.html.j2")
FIRST = ("factory_report", "comparison", "paper", "site")
"""Artifacts whose pages people come for."""
ROWS = 200
"""Rows of a table that the page shows."""
PICTURE_BYTES = 2_000_000


@dataclass(frozen=True)
class Shown:
    """A table: its columns, and as many rows as the page shows."""

    name: str
    columns: list[str]
    rows: list[Row]
    more: int


def artifact_page(artifact: Artifact, whose: Mapping[str, str], ui: str) -> str:
    """HTML that loads nothing. ``whose``: address of each input's page; ``ui``: of the asset in the web UI, or ''."""
    m = artifact.manifest
    tables = [
        Shown(name, list(dict.fromkeys(n for row in rows for n in row)), rows[:ROWS], max(0, len(rows) - ROWS))
        for name, rows in m.tables.items()
        if rows
    ]
    pictures = [
        (name, Markup("data:image/svg+xml;base64,") + base64.b64encode(data).decode())
        for name, file in m.pictures.items()
        if len(data := artifact.file(file).read_bytes()) <= PICTURE_BYTES
    ]
    pages = [name for name in m.files if name.endswith(".html")]
    values = {
        "key": artifact.key,
        "fingerprint": m.fingerprint,
        "manifest": m,
        "verdict": [(check, verdict_in_words(check)) for check in artifact.verdict],
        "tables": tables,
        "pictures": pictures,
        "pages": pages,
        "inputs": [(name, ref.fingerprint, whose.get(name, "")) for name, ref in m.made_from.inputs.items()],
        "config": json.dumps(m.made_from.config, ensure_ascii=False, indent=1),
        "ui": ui,
        "files": sorted(m.files.items()),
    }
    return render(TEMPLATE, STYLE, values)


def first_pages(made: Artifact) -> list[str]:
    """The pages that an artifact begins with: of a folder of pages the first, which leads to the others."""
    pages = [file for file in made.manifest.files if file.endswith(".html")]
    return ["index.html"] if "index.html" in pages else pages


def index_page(recipe: Recipe, heads: Mapping[str, Artifact], ui: str) -> str:
    """HTML that loads nothing: pages that people come for, then every artifact of a build by name."""
    first = [name for name in FIRST if name in heads]
    pages = [
        (name, heads[name], page)
        for name in [*first, *(name for name in heads if name not in first)]
        for page in first_pages(heads[name])
    ]
    values = {"recipe": recipe, "pages": pages, "artifacts": sorted(heads.items()), "ui": ui}
    return render(INDEX, STYLE, values)
