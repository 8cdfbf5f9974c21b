"""Rounds of preferences in a table: what each changed, and what it paid for it. For the report and the console."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.align.round_names import ROUND_REPORT
from neo_assets.core.store import Artifact, Row
from neo_assets.report.page import of_kind


def rounds_table(inputs: Mapping[str, Artifact]) -> list[Row]:
    """A row a run that learnt preferences and has guards; pairs are those that its model wrote."""
    out: list[Row] = []
    pairs = of_kind(inputs, "pairs")
    for run, made in of_kind(inputs, ROUND_REPORT).items():
        told = made.manifest.numbers
        if not told.get("prompts"):
            continue
        own = pairs[run].manifest.numbers["pairs"] if run in pairs else "none"
        out.append(
            {
                "run": run,
                "own pairs": own,
                f"{told['judge']}": f"{told['judge_before']} -> {told['judge_after']}",
                "95 %": f"{told['judge_low']:+} to {told['judge_high']:+}",
                "": told["verdict"],
                "wins by reward": told.get("wins"),
                "KL, nats a token": told["kl"],
                "better answers": told["chosen"],
                "worse answers": told["rejected"],
                "distinct": f"{told['distinct_before']} -> {told['distinct']}",
                "characters": f"{told['characters_before']} -> {told['characters']}",
                "forgotten": told["forgotten"],
                "refused by": ", ".join(check.name for check in made.refused_by) or "none",
            }
        )
    return out
