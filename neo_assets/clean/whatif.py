"""Other thresholds on the signals that are stored: which documents would change sides. Reads no text, only columns of
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from neo_assets.clean.clean_docs import signal_columns
from neo_assets.clean.rules import PREFIXES, judge, rules
from neo_assets.core.errors import BadInput, did_you_mean
from neo_assets.core.here import here
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.base import Section
from neo_assets.core.scalars import whole
from neo_assets.core.store import Row, Store


@dataclass(frozen=True)
class Comparison:
    """``by_source``: documents kept before and after; ``examples``: documents that change sides."""

    by_source: list[Row]
    examples: list[Row]


def parsed(recipe: Recipe, changes: Sequence[str]) -> dict[str, Section]:
    """The changed section of each language that ``changes`` ("clean.en.min_words=60") name. Raises BadInput for one
    that cannot be.
    """
    values: dict[str, dict[str, object]] = {}
    for change in changes:
        place, equals, text = change.partition("=")
        parts = place.removeprefix("clean.").split(".")
        section = getattr(recipe.clean, parts[0], None) if parts[0] in recipe.languages else None
        if not equals or len(parts) != 2 or section is None:
            raise BadInput(
                f"'{change}' is no change of a threshold. Write clean.‹{'|'.join(recipe.languages)}›.‹field›=‹value›,"
                " e.g. clean.en.max_bullet_lines=0.5"
            )
        if parts[1] not in type(section).model_fields:
            raise BadInput(
                f"clean.{parts[0]} has no field '{parts[1]}'.{did_you_mean(parts[1], type(section).model_fields)}"
            )
        if not parts[1].startswith(PREFIXES):
            raise BadInput(
                f"clean.{parts[0]}.{parts[1]} is no threshold: it changes what is measured, so only a build can tell."
                f" Thresholds begin with {', '.join(PREFIXES)}"
            )
        if parts[1] in values.get(parts[0], {}) or not text.strip():
            raise BadInput(
                f"'{change}': "
                + ("this field is given twice" if text.strip() else "the value is missing; null switches a rule off")
            )
        values.setdefault(parts[0], {})[parts[1]] = yaml.safe_load(text)
    out = {}
    for lang, fields in values.items():
        section = getattr(recipe.clean, lang)
        try:
            out[lang] = type(section).model_validate({**section.model_dump(), **fields})
        except ValidationError as error:
            problem = error.errors()[0]
            raise BadInput(
                f"clean.{lang}.{problem['loc'][0]}: {problem['msg']} (given: {problem['input']!r})"
            ) from None
    return out


def compare(store: Store, recipe: Recipe, lang: str, thresholds: Section, examples: int) -> Comparison:
    """Judge every document of a language twice, with the recipe's thresholds and with ``thresholds``."""
    now, then = rules(getattr(recipe.clean, lang)), rules(thresholds)
    columns = sorted({rule.signal for rule in (*now, *then)})
    by_source: list[Row] = []
    shown: list[Row] = []
    for source in recipe.sources:
        measured = store.head(recipe.name, f"signals/{source}")
        row: Row = {
            "language": lang,
            "source": source,
            "documents": 0,
            "kept now": 0,
            "kept then": 0,
            "newly kept": 0,
            "newly dropped": 0,
        }
        for path in measured.files(f"{lang}/part-"):
            table = pq.read_table(here(path), columns=["doc_id", *columns])
            signals = signal_columns(table, [*now, *then])
            for rule in then:
                if rule not in now and table.num_rows and np.isnan(signals[rule.signal]).all():
                    raise BadInput(
                        f"{rule.signal} was not measured in this build, since no rule of its recipe needed it; only a"
                        f" build can tell what {rule.field} would do"
                    )
            before, after = judge(signals, now, table.num_rows), judge(signals, then, table.num_rows)
            sides = {"newly kept": before.dropped & ~after.dropped, "newly dropped": after.dropped & ~before.dropped}
            for name, amount in (
                ("documents", table.num_rows),
                ("kept now", (~before.dropped).sum()),
                ("kept then", (~after.dropped).sum()),
            ):
                row[name] = whole(row[name]) + int(amount)
            for side, moved in sides.items():
                row[side] = whole(row[side]) + int(moved.sum())
                decided = before if side == "newly kept" else after
                for i in np.flatnonzero(moved)[:examples]:
                    shown.append(
                        {"side": side, "source": source, "doc_id": table.column("doc_id")[int(i)].as_py(),
                        "rule": decided.rule[i], "value": float(decided.value[i]),
                        "threshold": float(decided.threshold[i])}
                    )  # fmt: skip
        if row["documents"]:
            by_source.append(row)
    limited: list[Row] = []
    for side in ("newly kept", "newly dropped"):
        for source in recipe.sources:
            limited += sorted(
                (r for r in shown if r["side"] == side and r["source"] == source), key=lambda r: str(r["doc_id"])
            )[:examples]
    return Comparison(by_source, limited)
