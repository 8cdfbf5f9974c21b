"""Charts of pages and of the web UI: lines over steps or tokens, and heat maps, as SVG that Vega draws.

The page of scores draws with the same Vega in the browser; here it runs in ``vl_convert``. A page gives the elements
its own colours (``base.css``), so that its charts follow light, dark and print; a picture in the UI keeps those below,
on white. Drawing is 0.05 s a chart after a second for the first, a curve of 300 points 12 kB (matplotlib: 30).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT = 350, 165
MAX_POINTS = 300
"""A longer series is drawn as means over equally many steps."""
INK, SOFT, RULE, STRONG = "#1f2328", "#5c626c", "#ddd9d2", "#226a90"
COLOURS = ["#2f7fa8", "#d0762b", "#4b9a62", "#b4528c", "#8468c9", "#a98a1f", "#c64f4a", "#3aa39b"]
TICK = "abs(datum.value) >= 1000 ? format(datum.value, '~s') : format(datum.value, '~g')"
CONFIG = {
    "view": {"stroke": None},
    "axis": {
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelColor": SOFT,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 10,
        "titleFontSize": 10,
    },
    "title": {
        "anchor": "start",
        "fontSize": 12,
        "color": INK,
        "fontWeight": 600,
        "subtitleFontSize": 10,
        "subtitleColor": SOFT,
    },
    "legend": {
        "title": None,
        "orient": "bottom",
        "columns": 2,
        "labelColor": SOFT,
        "labelFontSize": 10,
        "labelLimit": 300,
        "symbolOpacity": 1,
    },
}

Spec = dict[str, Any]
"""A Vega-Lite chart."""


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    error: float | None = None  # half the height of the band


@dataclass(frozen=True)
class Line:
    points: Sequence[Point]
    name: str = ""
    dotted: bool = False


def thinned(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[Point], int]:
    """Points of a long series as means over blocks of steps, and how many steps a block has."""
    block = max(1, math.ceil(len(xs) / MAX_POINTS))
    starts = range(0, len(xs), block)
    return [
        Point(xs[min(i + block, len(xs)) - 1], sum(ys[i : i + block]) / len(ys[i : i + block])) for i in starts
    ], block


def curves(
    title: str,
    lines: Sequence[Line],
    x_title: str = "",
    *,
    chance: float | None = None,
    chance_name: str = "chance",
    marks: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    subtitle: str = "",
) -> Spec:
    """Lines over their finite points, each in a band of its errors (a whisker where it has one point), with a dashed
    line at ``chance``; lines of one name share a colour. Nothing to draw gives an empty chart.
    """
    rows = [
        {
            "x": p.x,
            "y": p.y,
            "low": p.y - (p.error or 0),
            "high": p.y + (p.error or 0),
            "name": line.name,
            "line": i,
            "dotted": line.dotted,
            "alone": len(line.points) == 1,
        }
        for i, line in enumerate(lines)
        for p in line.points
        if math.isfinite(p.x) and math.isfinite(p.y)
    ]
    names = list(dict.fromkeys(line.name for line in lines))
    axis: Spec = {"labelExpr": TICK, "labelOverlap": True, "tickCount": 5}
    across: Spec = {"field": "x", "type": "quantitative", "title": x_title or None, "axis": {**axis, "grid": False}}
    up: Spec = {"type": "quantitative", "title": None, "scale": {"zero": False}, "axis": axis}
    colour: Spec = {"value": STRONG}
    if len(names) > 1:
        colour = {"field": "name", "type": "nominal", "scale": {"domain": names, "range": COLOURS}}
    shared: Spec = {"x": across, "color": colour, "detail": {"field": "line"}}
    layers: list[Spec] = []
    several: Spec = {"usermeta": {"several": True}} if len(names) > 1 else {}
    named: Any = {"text": title, "subtitle": subtitle} if subtitle else title
    if any(row["low"] != row["high"] for row in rows):
        band = {**shared, "y": {**up, "field": "low"}, "y2": {"field": "high"}}
        layers.append({"mark": {"type": "area", "opacity": 0.2}, "encoding": band})
        whisker = {"type": "bar", "width": 1.2}  # a band over one point has no width
        layers.append({"mark": whisker, "encoding": band, "transform": [{"filter": "datum.alone"}]})
    dash = {"field": "dotted", "type": "nominal", "scale": {"domain": [False, True], "range": [[1, 0], [2, 2]]}}
    line_mark = {"type": "line", "strokeWidth": 1.6, "point": {"size": 22} if marks else False}
    drawn = {**shared, "y": {**up, "field": "y"}, "strokeDash": {**dash, "legend": None}}
    layers.append({"mark": line_mark, "encoding": drawn})
    if chance is not None:
        at = {"data": {"values": [{"y": chance}]}}
        where = {"y": {**up, "field": "y"}}
        layers.append({**at, "mark": {"type": "rule", "strokeDash": [4, 3], "color": SOFT}, "encoding": where})
        label = {"type": "text", "align": "right", "dy": -5, "x": size[0], "fontSize": 10, "color": SOFT}
        layers.append({**at, "mark": {**label, "text": f"{chance_name} {chance:.4g}"}, "encoding": where})
    return {"title": named, "width": size[0], "height": size[1], "data": {"values": rows}, "layer": layers, **several}


def beside(charts: Sequence[Spec], columns: int) -> Spec:
    """Charts in rows of ``columns``, each with its own scales."""
    own = {"scale": {"color": "independent", "x": "independent", "y": "independent", "strokeDash": "independent"}}
    return {"concat": list(charts), "columns": columns, "resolve": own | {"legend": {"color": "independent"}}}


@dataclass(frozen=True)
class Cell:
    row: str
    column: str
    value: float
    share: float  # 0 is the palest colour, 1 the strongest


def heat_map(cells: Sequence[Cell], title: str = "") -> Spec:
    """A field a cell, with its value on it; rows and columns in the order in which they come."""
    rows, columns = (list(dict.fromkeys(getattr(c, side) for c in cells)) for side in ("row", "column"))
    places: Spec = {
        "x": {"field": "column", "type": "nominal", "sort": columns, "title": None, "axis": {"labelAngle": -45}},
        "y": {"field": "row", "type": "nominal", "sort": rows, "title": None, "axis": {"labelLimit": 300}},
    }
    scale = {"domain": [0, 1], "range": ["#f3f0ea", STRONG]}
    shade = {"field": "share", "type": "quantitative", "legend": None, "scale": scale}
    written = {"condition": {"test": "datum.share > 0.6", "value": "white"}, "value": INK}
    return {
        "title": title or None,
        "width": {"step": 64},
        "height": {"step": 17},
        "data": {"values": [vars(c) | {"told": f"{c.value:.3g}"} for c in cells]},
        "layer": [
            {"mark": "rect", "encoding": {**places, "color": shade}},
            {
                "mark": {"type": "text", "fontSize": 9},
                "encoding": {**places, "text": {"field": "told"}, "color": written},
            },
        ],
    }


def svg(chart: Mapping[str, object], background: str | None = None) -> str:
    """The chart drawn. What data and titles hold is text in it, never markup."""
    import vl_convert  # brings a JavaScript engine, which a command line should not wait for

    whole = {**chart, "background": background, "config": CONFIG}
    return str(vl_convert.vegalite_to_svg(whole))


def drawing(chart: Mapping[str, object]) -> Markup:
    """The chart as part of a page, in the page's colours; its title is read out where it cannot be seen."""
    kind = "chart several" if chart.get("usermeta") else "chart"
    page_part = '<div class="{}" role="img" aria-label="{}">{}</div>'
    title = chart["title"]
    said = f"{title['text']}, {title['subtitle']}" if isinstance(title, Mapping) else title
    return Markup(page_part).format(kind, said, Markup(svg(chart)))


def write_picture(chart: Mapping[str, object], file: Path) -> None:
    """The chart as a picture for the web UI, on white. The same chart is the same file."""
    file.write_text(svg(chart, "white"), encoding="utf-8")
