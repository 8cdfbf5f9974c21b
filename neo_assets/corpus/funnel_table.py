"""`neo funnel`: how many documents each stage, source, language or rule kept, edited and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, bar, dagster_job, show
from neo_assets.corpus.sides import SPLIT, in_words

if TYPE_CHECKING:
    from resources.ledger import Ledger

EACH_ALL = "starts_with(stage, 'mixture/')"
"""Artifacts of one kind of which each judges all documents: told one by one, not together."""
BAR = 24
"""Characters of the longest bar."""


class By(StrEnum):
    """What documents are counted by, besides the stage."""

    source = "source"
    lang = "lang"
    rule = "rule"


def funnel(
    stage: Annotated[
        str | None, typer.Argument(help="a kind of stage (clean_docs) or one artifact (clean_docs/en); all if left out")
    ] = None,
    by: Annotated[list[By] | None, typer.Option("--by", help="again for more; of one stage, rules if left out")] = None,
    percent: Annotated[bool, typer.Option("--percent", help="shares of what came in, instead of documents")] = False,
    as_json: bool = JSON,
) -> None:
    """Documents that came into each stage, and how many it kept, edited and dropped; by source, language, rule."""
    from resources.ledger import Ledger

    recipe = load()
    ledger = Ledger(Store(store_root()), recipe.name, recipe.makes)
    of = next((name for name in _artifacts(ledger) if name.replace("/", "_") == stage), stage)  # as Dagster writes it
    keys = list(dict.fromkeys(by or ([By.rule] if stage else [])))
    rows = counts(ledger, of, keys)
    if not rows:
        known = _artifacts(ledger)
        if not known:
            show([], as_json, empty=f"nothing is built for this recipe yet: {dagster_job('factory')}")
            return
        kinds = list(dict.fromkeys(name.split("/")[0] for name in known))
        raise BadInput(
            f"no stage '{stage}' judges documents in this build.{did_you_mean(str(stage), [*kinds, *known])} Those that"
            f" do: {', '.join(kinds)}"
        )
    show(rows if as_json else [_spoken(row, keys, rows, percent) for row in rows], as_json)
    if not as_json:
        print("\n".join(_notes(ledger, of, keys)))


def _notes(ledger: Ledger, stage: str | None, by: Sequence[By]) -> list[str]:
    """What the table cannot show: what the shares are of, steps of one language, and that the split has two sides."""
    kinds = dict[str, list[str]]()
    for name in _artifacts(ledger):
        kinds.setdefault(name.partition("/")[0], []).append(name.partition("/")[2])
    notes = []
    if stage and By.rule in by:
        for row in counts(ledger, stage, []):
            if row["stage"] in SPLIT:
                kept, other = SPLIT[str(row["stage"])]
                notes.append(f"{row['stage']}: {row['in']:,} in = {row['kept']:,} {kept} + {row['dropped']:,} {other}.")
                continue
            edited = f" + {row['edited']:,} edited" if row["edited"] else ""
            notes.append(
                f"{row['stage']}: {row['in']:,} in = {row['kept']:,} kept as they were{edited}"
                f" + {row['dropped']:,} dropped."
            )
    cleaned = kinds.get("clean_docs", [])
    for kind, langs in kinds.items():
        asked = stage is None or stage == kind
        if asked and len(langs) < len(cleaned) and set(langs) <= set(cleaned):
            notes.append(f"{kind}: of {', '.join(langs)} only.")
    if "train_pool" in kinds and stage in (None, "heldout", "train_pool"):
        notes.append("heldout and train_pool: two sides of one split; what one drops, the other has.")
    return notes


def counts(ledger: Ledger, stage: str | None, by: Sequence[By]) -> list[Row]:
    """Documents by stage and what else is asked for, in the order of the stages.

    Without rules: how many came ``in``, and of these ``kept``, ``edited`` (kept, and changed) and ``dropped``, and the
    share kept. With rules: a row for each rule that edited or dropped something, and its share of what came in.
    A document's language is that of the stages which clean it; one that reached none of them has none.
    """
    keys = ["stage", *(key.value for key in by if key is not By.rule)]
    kind = "stage" if stage and "/" in stage else f"if({EACH_ALL}, stage, split_part(stage, '/', 1))"
    told = (
        "with langs as (select doc_id, any_value(split_part(stage, '/', 2)) as lang from verdicts"
        " where starts_with(stage, 'clean_docs/') group by doc_id),"
        f" told as (select {kind} as stage, verdict, rule, source, coalesce(lang, '') as lang, place"
        " from verdicts left join langs using (doc_id) where ? in ('', stage, split_part(stage, '/', 1)))"
    )
    in_order = f"max(max(place)) over (partition by stage), {', '.join(keys)}"
    if By.rule not in by:
        query = (
            f"{told} select {', '.join(keys)}, count(*) as \"in\", count(*) filter (verdict = 'kept') as kept,"
            " count(*) filter (verdict = 'edited') as edited, count(*) filter (verdict = 'dropped') as dropped,"
            " round(count(*) filter (verdict <> 'dropped') / count(*), 6) as share"
            f" from told group by {', '.join(keys)} order by {in_order}"
        )
    else:
        query = (
            f"{told}, whole as (select {', '.join(keys)}, count(*) as n from told group by {', '.join(keys)})"
            f" select {', '.join(keys)}, verdict, rule, count(*) as documents,"
            " round(count(*) / any_value(n), 6) as share"
            f" from told join whole using ({', '.join(keys)}) where rule <> ''"
            f" group by {', '.join(keys)}, verdict, rule order by {in_order}, documents desc, rule"
        )
    return ledger.rows(query, [stage or ""])


def _spoken(row: Row, by: Sequence[By], rows: Sequence[Row], percent: bool) -> Row:
    """A row as it is printed: shares instead of counts where they are asked for, and a bar."""
    length = "documents" if By.rule in by else "in"
    most = max(int(r[length] or 0) for r in rows)
    out = dict(row)
    if "rule" in out:
        out["verdict"] = in_words(row)
    if out.get("lang") == "":
        out["lang"] = "(not cleaned)"
    share = float(out.pop("share") or 0)
    if By.rule in by:
        if percent:
            out["documents"] = f"{share:.1%}"
        out[" "] = bar(int(row["documents"] or 0), int(row["documents"] or 0), most, BAR)
        return out
    if percent:
        for name in ("kept", "edited", "dropped"):
            out[name] = f"{int(row[name] or 0) / int(row['in'] or 1):.1%}"
    stays = int(row["kept"] or 0) + int(row["edited"] or 0)
    out["stays"] = f"{share:.1%}"
    out[" "] = bar(stays, int(row["in"] or 0), most, BAR)
    return out


def _artifacts(ledger: Ledger) -> list[str]:
    return [
        str(r["stage"]) for r in ledger.rows("select stage from verdicts group by stage order by max(place), stage")
    ]
