"""`neo whatif`: what another threshold would keep and drop, from the stored signals."""

from __future__ import annotations

from typing import Annotated

import typer

from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, show


def whatif(
    changes: Annotated[
        list[str], typer.Argument(help="e.g. clean.en.max_bullet_lines=0.5; several at once; null switches a rule off")
    ],
    examples: Annotated[int, typer.Option(min=0, help="documents shown of each kind")] = 3,
    as_json: bool = JSON,
) -> None:
    """What other thresholds would keep and drop, per source, with examples. Nothing is made and no text is read again.

    Lists and other switches change what is measured: they need a build.
    """
    from neo_assets.clean.whatif import compare, parsed
    from resources.ledger import Ledger

    recipe = load()
    store = Store(store_root())
    told = [compare(store, recipe, lang, thresholds, examples) for lang, thresholds in parsed(recipe, changes).items()]
    ledger = Ledger(store, recipe.name, recipe.makes)
    shown: list[Row] = []
    for part in told:
        for row in part.examples:
            shown.append({**row, "url": ledger.url_of(str(row["doc_id"])) or ""})
    if as_json:
        show([{"by_source": [dict(r) for part in told for r in part.by_source], "examples": shown}], as_json)
        return
    show(
        [row for part in told for row in part.by_source],
        as_json=False,
        title="Documents that pass the rules: now, by the recipe as it is, and then",
    )
    if examples == 0:
        return
    print()
    show(
        [{k: v for k, v in row.items() if k != "doc_id"} for row in shown],
        as_json=False,
        title="Examples (first by id)",
        empty="no document changes sides",
    )
