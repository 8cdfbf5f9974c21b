"""`neo fate`: the story of one page through all stages."""

from __future__ import annotations

from typing import Annotated

import typer

from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show


def register(app: typer.Typer) -> None:
    app.command()(fate)
    app.command()(funnel)


def fate(page: Annotated[str, typer.Argument(help="URL or doc_id")], as_json: bool = JSON) -> None:
    """What every stage decided about one page, and why."""
    from resources.ledger import Ledger

    ledger = Ledger(Store(store_root()), load().name)
    rows = ledger.fate(page)
    if not rows:
        raise BadInput(f"no stage has seen '{page}' in this recipe's build. URLs are as crawled, e.g. {_example(ledger.rows('select url from fetched order by url limit 1'))}")
    for row in rows:
        if row["twin"]:
            row["twin"] = ledger.url_of(str(row["twin"])) or row["twin"]
    if as_json:
        show(rows, as_json)
        return
    for doc_id in dict.fromkeys(str(row["doc_id"]) for row in rows):
        title = f"{ledger.url_of(doc_id) or page}  (document {doc_id})"
        show([{name: value for name, value in row.items() if name != "doc_id"} for row in rows if row["doc_id"] == doc_id], as_json=False, title=title)


def funnel(as_json: bool = JSON) -> None:
    """Documents kept, edited and dropped, by stage, source and rule."""
    from resources.ledger import Ledger

    show(Ledger(Store(store_root()), load().name).funnel(), as_json, empty="nothing is built for this recipe yet")


def _example(rows: list[dict[str, int | float | str | bool | None]]) -> str:
    return str(rows[0]["url"]) if rows else "http://host/page.html"
