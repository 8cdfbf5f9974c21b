"""Rounds of preferences in a table: what each changed, and what it paid for it. For the report and the console."""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.align.round_names import ROUND_REPORT
from neo_assets.core.scalars import real
from neo_assets.core.store import Artifact, Row, Scalar
from neo_assets.report.page import of_kind

Numbers = Mapping[str, Scalar]


def rounds_table(inputs: Mapping[str, Artifact]) -> list[Row]:
    """A row a measure, a column a run that learnt preferences and has guards; pairs are those that its model wrote."""
    reports = {run: made for run, made in of_kind(inputs, ROUND_REPORT).items() if made.manifest.numbers.get("prompts")}
    pairs = of_kind(inputs, "pairs")
    columns = {
        run: _column(made.manifest.numbers, pairs[run].manifest.numbers if run in pairs else {})
        | {"refused by": ", ".join(check.name for check in made.refused_by) or "none"}
        for run, made in reports.items()
    }
    measures = list(dict.fromkeys(name for column in columns.values() for name in column))
    return [{"": name, **{run: column.get(name, "") for run, column in columns.items()}} for name in measures]


def _column(told: Numbers, own: Numbers) -> dict[str, str]:
    def number(name: str, form: str) -> str:
        return format(real(told[name]), form)

    judge = f"{told['judge']}, {told['prompts']} held-out prompts"
    return {
        "pairs that its model wrote": str(own.get("pairs", "none")),
        judge: f"{number('judge_before', '.1%')} → {number('judge_after', '.1%')}, {told['verdict']}",
        "change, 95 %": f"{number('judge_low', '+.1%')} to {number('judge_high', '+.1%')}",
        **({"wins by reward": number("wins", ".1%")} if "wins" in told else {}),
        "divergence, nats a token": number("kl", ".3f"),
        "better answers, nats a token": number("chosen", "+.3f"),
        "worse answers, nats a token": number("rejected", "+.3f"),
        "distinct answers": f"{number('distinct_before', '.0%')} → {number('distinct', '.0%')}",
        "characters an answer": f"{number('characters_before', '.1f')} → {number('characters', '.1f')}",
        "bits per byte of held-out text": number("forgotten", "+.1%"),
    }
