"""Tables as people read them, in a pipe and in a terminal."""

from __future__ import annotations

import json

import pytest

from neo_assets.core.terminal import FOLDED, show


def test_a_piped_table_is_one_line_a_row_and_aligned_in_both_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [{"task": "中文题", "value": 0.5, "none": None, "n": 1200}, {"task": "a", "value": None, "none": None, "n": 7}],
        False,
    )
    assert capsys.readouterr().out == "task    value      n\n中文题    0.5  1,200\na                  7\n"


def test_every_row_of_a_long_table_is_printed_and_json_has_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"step": i, "note": None} for i in range(2 * FOLDED)]
    show(rows, False, title="steps")
    assert len(capsys.readouterr().out.splitlines()) == 2 * FOLDED + 2
    show(rows[:1], True)
    assert json.loads(capsys.readouterr().out) == [{"step": 0, "note": None}]
    show([], False, empty="no steps")
    assert capsys.readouterr().out == "no steps\n"
