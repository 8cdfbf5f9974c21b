"""`neo fate`: the story of one page. `neo sample`: what a rule threw away, to read."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.core.withdrawn import SIDES as SIDES_OF_THE_CORPUS
from neo_assets.core.withdrawn import all_withdrawn
from neo_assets.corpus.sides import SIDES, ending, in_words, told
from neo_assets.web.links import BadUrl, canonical

if TYPE_CHECKING:
    from resources.ledger import Ledger


def fate(
    page: Annotated[str, typer.Argument(help="URL or doc_id")],
    diff: Annotated[
        bool, typer.Option("--diff", help="the page's text before and after each step, what was taken out marked")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """What every stage decided about one page, and why.

    A page is named by its URL as crawled (the scheme may be left out), by its document id, or by the first eight or
    more letters of that.
    """
    from resources.ledger import Ledger

    recipe = load()
    store = Store(store_root())
    ledger = Ledger(store, recipe.name, recipe.makes)
    rows = ledger.fate(page)
    if not rows:
        with contextlib.suppress(BadUrl):  # http://a.example is http://a.example/
            rows = ledger.fate(canonical(page if "://" in page else f"http://{page}"))
    if (parts := ledger.parts_of(page)) and not as_json:
        print(f"{page} was cut into {len(parts)} parts; what became of each (`neo fate PART` tells its story):")
        show(
            [{"part": row["url"], "what became of it": ending(ledger.fate(str(row["doc_id"])))} for row in parts],
            as_json=False,
        )
        return
    if not rows:
        known = ledger.similar_urls(page, limit=3)
        raise BadInput(
            f"no stage has seen '{page}' in this recipe's build. "
            + (
                f"Did you mean {' or '.join(known)}?"
                if known
                else "Nothing is crawled, or another snapshot than the catalogue's (`neo why`)."
            )
        )
    for row in rows:
        if row["twin"]:
            row["twin"] = ledger.url_of(str(row["twin"])) or row["twin"]
    if as_json:
        show(rows, as_json)
        return
    if diff:
        for doc_id in dict.fromkeys(str(row["doc_id"]) for row in rows):
            _show_changes(store, recipe, ledger, ledger.url_of(doc_id) or page, doc_id)
        return
    for doc_id in dict.fromkeys(str(row["doc_id"]) for row in rows):
        title = f"{ledger.url_of(doc_id) or page}  (document {doc_id})"
        mine = [row for row in rows if row["doc_id"] == doc_id]
        shown = [{name: value for name, value in told(row).items() if name != "doc_id"} for row in mine]
        show(shown, as_json=False, title=title)
        print(_withdrawn(store, recipe.name, doc_id) or ending(mine))


def _withdrawn(store: Store, recipe: str, doc_id: str) -> str:
    """A line on a document that is withdrawn from the build."""
    pointer = store.head_pointer(recipe, WITHDRAWN)
    made = store.find(*pointer) if pointer else None
    if made is None or not any(doc_id in all_withdrawn({WITHDRAWN: made}, side) for side in SIDES_OF_THE_CORPUS):
        return ""
    return "Withdrawn: it keeps its place, and no token of it is in a token stream made since (`neo takedown`)."


def _show_changes(store: Store, recipe: Recipe, ledger: Ledger, url: str, doc_id: str) -> None:
    """Print what each step did to a text: of a web page from all that a reader sees on."""
    from neo_assets.corpus.text_changes import marked
    from neo_assets.extract.seen_page import seen_text
    from resources.texts import versions_of

    versions = versions_of(store, recipe.name, doc_id, recipe.makes)
    print(f"{url}  (document {doc_id})")
    seen = seen_text(store, recipe, doc_id)
    if seen is not None:
        versions.insert(0, ("the page as a reader sees it", seen))
    if not versions:
        print("  no stage of this build has a text of it")
        versions = [("", "")]
    before = versions[0]
    if before[0]:
        print(f"\n== {before[0]}: {len(before[1]):,} characters")
    for name, text in versions[1:]:
        change = marked(before[1], text)
        print(f"\n== {name}: {len(before[1]):,} -> {len(text):,} characters" if change else f"\n== {name}: unchanged")
        if change:
            print(_coloured(change))
        before = (name, text)
    for row in ledger.fate(doc_id):
        if row["verdict"] == "dropped" and row["rule"] not in SIDES:
            bounds = "" if row["value"] is None else f" ({row['value']:.4g}, bound {row['threshold']})"
            twin = f"; stays instead: {ledger.url_of(str(row['twin'])) or row['twin']}" if row["twin"] else ""
            print(f"\n== {row['stage']}: dropped by {row['rule']}{bounds}{twin} {row['detail'] or ''}".rstrip())


def _coloured(text: str) -> str:
    if not sys.stdout.isatty():
        return text
    red, green, plain = "\033[31m", "\033[32m", "\033[0m"
    for mark, colour in (("[-", red), ("{+", green)):
        text = text.replace(mark, colour + mark)
    for mark in ("-]", "+}"):
        text = text.replace(mark, mark + plain)
    return text


def sample(
    rule: Annotated[str, typer.Argument(help="a rule, as `neo funnel` lists them")],
    n: Annotated[int, typer.Option("-n", min=1, help="documents")] = 10,
    seed: Annotated[int, typer.Option(help="another seed, other documents")] = 0,
    chars: Annotated[int, typer.Option(min=0, help="characters shown of each text")] = 400,
    as_json: bool = JSON,
) -> None:
    """Read what a rule threw away: documents drawn evenly, each with the value measured, the threshold, its twin and
    its text.

    The text is the extracted one, before any step edited it: what a rule cut out or masked is still in it.
    """
    from resources.ledger import Ledger
    from resources.texts import texts_of

    recipe = load()
    store = Store(store_root())
    ledger = Ledger(store, recipe.name, recipe.makes)
    rows = ledger.drawn(rule, n, seed)
    if not rows:
        known = [
            str(r["rule"]) for r in ledger.rows("select distinct rule from verdicts where rule <> '' order by rule")
        ]
        raise BadInput(
            f"no document of this build met a rule '{rule}': it is off, dropped nothing, or has another"
            f" name.{did_you_mean(rule, known)} Rules that were met: {', '.join(known) or 'none'}"
        )
    found = texts_of(store, recipe.name, {str(row[name]) for row in rows for name in ("doc_id", "twin") if row[name]})
    out = [_told(row, found, ledger.url_of(str(row["doc_id"])), chars) for row in rows]
    if as_json:
        show(out, as_json)
        return
    twin_is = "; shares it with: " if rule in SIDES else "; stays instead: "
    for row in out:
        measured = ", ".join(
            f"{name} {row[name]:.4g}" for name in ("value", "threshold") if isinstance(row[name], float)
        )
        print(
            f"{row['url'] or row['doc_id']}\n  {row['stage']}: {in_words({**row, 'rule': rule})} by"
            f" {rule}{'; ' + measured if measured else ''}"
            f"{twin_is + str(row['twin']) if row['twin'] else ''}"
        )
        if row["detail"]:
            print(f"  {row['detail']}")
        if not row["text"]:
            continue
        print("  | " + str(row["text"]).replace("\n", "\n  | ") + "\n")


def _told(row: Row, texts: Mapping[str, tuple[str, str]], url: str | None, chars: int) -> Row:
    doc_id, twin = str(row["doc_id"]), str(row["twin"] or "")
    text = texts.get(doc_id, ("", ""))[1]
    return {
        **row,
        "url": url or texts.get(doc_id, ("", ""))[0],
        "twin": texts.get(twin, (twin, ""))[0] if twin else "",
        "text": text[:chars] + ("…" if len(text) > chars else ""),
    }
