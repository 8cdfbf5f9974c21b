"""What a build would stop at, told before anything is built: by what the recipe says and what lies on this machine.

Addresses of pages are known before they are crawled where a source is a folder, and otherwise once its documents are
made; of a source of which they are not known nothing is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.sources import HtmlFolderSource
from neo_assets.core.records import read_table
from neo_assets.core.store import Store
from neo_assets.crawl.catalogue import html_folder
from neo_assets.crawl.site import folder_site


def refusals(recipe: Recipe, store: Store, where: Callable[[str], str]) -> list[str]:
    """Sentences, each with the line that the user wrote."""
    found: list[str] = []
    addresses = known_addresses(recipe, store) if recipe.high_quality else None
    if addresses is None:
        return found
    for lang, settings in recipe.high_quality.items():
        patterns = [re.compile(pattern) for pattern in settings.seed_urls]
        if not any(pattern.search(url) for url in addresses for pattern in patterns):
            field = f"high_quality.{lang}.seed_urls"
            found.append(
                f"{where(field)}: {field} match none of the {len(addresses):,} addresses of its sources, such as"
                f" {addresses[0] if addresses else '(none)'}; name patterns of good pages, or leave the step out with"
                f" `high_quality: {{{lang}: null}}`"
            )
        if settings.labels and (labelled := _labelled(ROOT / settings.labels)) and labelled.isdisjoint(addresses):
            field = f"high_quality.{lang}.labels"
            found.append(
                f"{where(field)}: {field} are of another text: none of its {len(labelled):,} addresses is one of the"
                f" {len(addresses):,} of these sources; `labels: null` goes without"
            )
    return found


def known_addresses(recipe: Recipe, store: Store) -> Sequence[str] | None:
    """Addresses of the documents of all sources; None where those of some source are not known yet."""
    out: list[str] = []
    for name, source in recipe.sources.items():
        pointer = store.head_pointer(recipe.name, f"documents/{name}")
        made = store.find(*pointer) if pointer else None
        if isinstance(source, HtmlFolderSource):
            try:
                site = folder_site(html_folder(source).resolve(), source.host, source.include)
            except BadInput:
                return None  # told as not here
            out += [f"http://{source.host}{path}" for path in site.files]
        elif made is not None:
            out += [url for path in made.files("part-") for url in _urls(path)]
        else:
            return None
    return out


def _urls(path: Path) -> Iterable[str]:
    return (str(url) for url in read_table(path, columns=["url"]).column("url").to_pylist())


def _labelled(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    return {str(row["url"]) for row in rows}
