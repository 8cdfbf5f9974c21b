"""Rounds of preferences as people read them."""

from __future__ import annotations

from pathlib import Path

from neo_assets.report.rounds import rounds_table
from tests.align.test_rounds import all_the_same, report


def test_rounds_stand_beside_each_other_and_say_what_refused_them(tmp_path: Path) -> None:
    calm, wild = report(tmp_path / "calm"), report(tmp_path / "wild", all_the_same)
    rows = {str(row[""]): row for row in rounds_table({"round_report/one": calm, "round_report/two": wild})}
    assert rows["exact, 40 held-out prompts"] == {
        "": "exact, 40 held-out prompts", "one": "50.0% → 50.0%, flat", "two": "50.0% → 0.0%, worse"
    }  # fmt: skip
    assert rows["refused by"]["one"] == "none" and rows["refused by"]["two"] == "judge, distinct, length"
    assert rows["distinct answers"]["two"] == "100% → 2%" and "wins by reward" not in rows
    assert rounds_table({}) == []
