"""Charts say what they were given: every finite point, round ticks, texts as texts; and the same chart is the same
file.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from neo_assets.pages.charts import (
    MAX_POINTS,
    Cell,
    Line,
    Point,
    beside,
    curves,
    drawing,
    heat_map,
    svg,
    thinned,
    write_picture,
)
from neo_assets.pages.page import loads

HOSTILE = '<script>alert(1)</script> & "quoted" ${datum.y}'
RISING = [Point(i * 1000, i / 10, 0.05) for i in range(6)]


def texts(drawn: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawn)


def paths(drawn: str, mark: str) -> list[str]:
    (group,) = re.findall(rf'<g class="mark-{mark} role-mark[^"]*"[^>/]*>(.*?)</g>', drawn) or [""]
    return re.findall(r' d="([^"]*)"', group)


def test_a_line_goes_through_every_point_that_is_a_number() -> None:
    (whole,) = paths(svg(curves("t", [Line(RISING)])), "line")
    assert whole.count("L") == len(RISING) - 1
    broken = [*RISING, Point(math.nan, 1), Point(7000, math.inf)]
    (same,) = paths(svg(curves("t", [Line(broken)])), "line")
    assert same == whole


def test_chance_errors_and_more_than_one_line_are_seen() -> None:
    plain = svg(curves("t", [Line([Point(p.x, p.y) for p in RISING])]))
    assert "mark-area" not in plain and not any("chance" in text for text in texts(plain))
    drawn = svg(curves("t", [Line(RISING, "main"), Line(RISING, "decay", dotted=True)], chance=0.25, marks=True))
    assert "mark-area" in drawn and "chance 0.25" in texts(drawn) and "mark-symbol" in drawn
    assert {"main", "decay"} <= set(texts(drawn)) and 'stroke-dasharray="2,2"' in drawn


def test_one_point_shows_its_error_too() -> None:
    one = svg(curves("t", [Line(RISING[:1])], marks=True))
    assert "-0.05" in one.replace("−", "-") and "mark-rect" in one
    (whisker,) = paths(one, "rect")
    assert float(re.findall(r"v([0-9.]+)", whisker)[0]) > 100  # as high as the chart, which holds nothing else
    assert paths(svg(curves("t", [Line(RISING)])), "rect") == []


@pytest.mark.parametrize(
    ("values", "told"),
    [([0, 40_000], "40k"), ([0.0, 0.0003], "0.0003"), ([1e9, 3e9], "3G"), ([0.5, 0.5], "0.5"), ([-2, -1], "−2")],
)
def test_ticks_are_round_and_short(values: list[float], told: str) -> None:
    drawn = svg(curves("t", [Line([Point(i, v) for i, v in enumerate(values)])]))
    assert told in texts(drawn), texts(drawn)


def test_what_is_written_on_a_chart_is_text() -> None:
    cells = [Cell(HOSTILE, HOSTILE, 1.0, 0.5)]
    for chart in (curves(HOSTILE, [Line(RISING, HOSTILE), Line(RISING, "b")], HOSTILE), heat_map(cells, HOSTILE)):
        drawn = drawing(chart)
        assert "<script" not in drawn and "&lt;script&gt;" in drawn and "${datum.y}" in drawn
        assert not loads(str(drawn))


def test_the_same_chart_is_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "a.svg", tmp_path / "b.svg"
    for file in (one, other):
        write_picture(beside([curves("t", [Line(RISING)]), curves("u", [Line(RISING)])], 2), file)
    assert one.read_bytes() == other.read_bytes() and 'fill="white"' in one.read_text()


def test_a_heat_map_keeps_the_order_it_was_given() -> None:
    cells = [Cell(row, column, i / 10, i / 10) for i, (row, column) in enumerate(["bx", "by", "ax", "ay"])]
    drawn = texts(svg(heat_map(cells)))
    assert drawn.index("b") < drawn.index("a") and drawn.index("x") < drawn.index("y")
    assert {"0", "0.1", "0.2", "0.3"} <= set(drawn)


def test_a_long_series_is_means_of_equal_blocks() -> None:
    points, block = thinned(list(range(1000)), [float(i) for i in range(1000)])
    assert block == 4 and len(points) == 250 <= MAX_POINTS
    assert (points[0].x, points[0].y) == (3, 1.5) and (points[-1].x, points[-1].y) == (999, 997.5)
    assert thinned([1, 2], [3.0, 4.0]) == ([Point(1, 3.0), Point(2, 4.0)], 1)
