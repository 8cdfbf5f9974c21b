"""What became of a document, in words: the split's verdicts, which are of two artifacts, and the end of its story."""

from __future__ import annotations

from collections.abc import Sequence

from neo_assets.core.records import DROPPED
from neo_assets.core.store import Row

SIDES = {
    "in_train_pool": "for training",
    "shared_run": "for training",
    "with_its_page": "for training",
    "held_out": "held out",
}
"""Verdicts of the split in words, by rule: what one of its artifacts drops is in the other."""
SPLIT = {"heldout": ("held out", "for training"), "train_pool": ("for training", "held out")}
"""What the two artifacts of the split keep, and what they drop."""


def in_words(row: Row) -> str:
    """A verdict as people read it."""
    return SIDES.get(str(row["rule"] or ""), str(row["verdict"]))


def told(row: Row) -> Row:
    """A verdict as it is shown: in words, and a mixture's rounds as what they are."""
    out = {**row, "verdict": in_words(row)}
    if str(row["stage"]).startswith("mixture/") and row.get("threshold") is not None:
        asked = f"{float(str(row['threshold'])):g}"
        return out | {"value": None, "threshold": None, "detail": f"{row['detail']} ({asked} asked for, drawn by lot)"}
    return out


def ending(rows: Sequence[Row]) -> str:
    """What became of a document, by its verdicts in the order of the stages: one sentence."""
    if any(row["rule"] == "held_out" for row in rows):
        return "Held out for evaluation: no run trains on it, and no tokenizer."
    mixtures = {str(r["stage"]).partition("/")[2]: r for r in rows if str(r["stage"]).startswith("mixture/")}
    drawn = [name for name, row in mixtures.items() if row["verdict"] != DROPPED]
    if drawn:
        text = f"In the training text of {' and '.join(sorted(drawn))}"
        return f"{text}; `neo when {rows[0]['doc_id']}` lists the steps that came to it."
    if mixtures:
        return "No mixture of the recipe takes it: no run trains on it."
    for row in rows:
        if row["verdict"] == DROPPED and row["rule"] not in SIDES and row["stage"] != "heldout_tasks":
            return f"Dropped by {row['rule']} at {row['stage']}: no run trains on it."
    return f"Kept as far as the build goes, which is {rows[-1]['stage']}."
