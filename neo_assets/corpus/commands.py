"""`neo fate`: the story of one page through all stages."""

from __future__ import annotations

from typing import Annotated

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show

OTHER_SIDE = ("in_train_pool", "held_out")
"""Rules of the split: a page they drop is in the artifact on the other side."""


def register(app: typer.Typer) -> None:
    app.command()(fate)
    app.command()(funnel)


def fate(page: Annotated[str, typer.Argument(help="URL or doc_id")], as_json: bool = JSON) -> None:
    """What every stage decided about one page, and why.

    A page is named by its URL as crawled (the scheme may be left out), by its document id, or by the first eight or more letters of that.
    """
    from resources.ledger import Ledger

    ledger = Ledger(Store(store_root()), load().name)
    rows = ledger.fate(page)
    if not rows:
        known = ledger.similar_urls(page, limit=3)
        raise BadInput(f"no stage has seen '{page}' in this recipe's build. " + (f"Did you mean {' or '.join(known)}?" if known else "Nothing is crawled yet."))
    for row in rows:
        if row["twin"]:
            row["twin"] = ledger.url_of(str(row["twin"])) or row["twin"]
    if as_json:
        show(rows, as_json)
        return
    for doc_id in dict.fromkeys(str(row["doc_id"]) for row in rows):
        title = f"{ledger.url_of(doc_id) or page}  (document {doc_id})"
        told = [{name: value for name, value in row.items() if name != "doc_id"} for row in rows if row["doc_id"] == doc_id]
        show([{**row, "verdict": "other side"} if row["rule"] in OTHER_SIDE else row for row in told], as_json=False, title=title)


def funnel(as_json: bool = JSON) -> None:
    """Documents kept, edited and dropped, by stage, source and rule."""
    from resources.ledger import Ledger

    show(Ledger(Store(store_root()), load().name).funnel(), as_json, empty="nothing is built for this recipe yet")
