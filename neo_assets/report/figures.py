"""Figures of the report as inline SVG, in the page's own colours, so that they follow light, dark and print.

Drawn by hand rather than by matplotlib: a curve of 300 points is 4 kB instead of 30, its text stays text, and it can be
read at phone width. The price is that these two kinds of figure, bars and curves, are all there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 26, 36
MAX_POINTS = 300
"""A longer curve is drawn as means over equally many steps."""


@dataclass(frozen=True)
class Bar:
    """One stage of a funnel: what came in and what was kept."""

    label: str
    rows_in: int
    kept: int

    @property
    def dropped(self) -> int:
        return self.rows_in - self.kept


def funnel(title: str, bars: Sequence[Bar]) -> Markup:
    """Bars of what each stage kept (solid) and dropped (pale), all on the scale of the largest."""
    widest = max((bar.rows_in for bar in bars), default=0) or 1
    rows = []
    for bar in bars:
        kept, lost = 1000 * bar.kept / widest, 1000 * bar.dropped / widest
        share = f"−{bar.dropped:,} ({bar.dropped / bar.rows_in:.1%})" if bar.dropped else ""
        rows.append(
            Markup(
                '<li><span class="label">{}</span><svg viewBox="0 0 1000 10" preserveAspectRatio="none"'
                ' aria-hidden="true">{}{}</svg><span class="count">{} <small>{}</small></span></li>'
            ).format(bar.label, _rect(0, kept, "kept"), _rect(kept, lost, "lost"), f"{bar.kept:,}", share)
        )
    return Markup('<div class="funnel"><h4>{}</h4><ol>{}</ol></div>').format(title, Markup("").join(rows))


def _rect(x: float, width: float, name: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="0" width="{}" height="10"/>').format(name, f"{x:.1f}", f"{width:.1f}")


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    error: float | None = None  # half the height of the whisker


def curve(
    title: str, points: Sequence[Point], x_label: str, chance: float | None = None, markers: bool = False
) -> Markup:
    """A line over ``points`` (finite ones), with a dashed line at ``chance``; every axis labels its
    own round values.
    """
    drawn = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]
    if not drawn:
        return Markup("")
    lows = [p.y - (p.error or 0) for p in drawn] + ([chance] if chance is not None else [])
    highs = [p.y + (p.error or 0) for p in drawn] + ([chance] if chance is not None else [])
    x_ticks, y_ticks = ticks(min(p.x for p in drawn), max(p.x for p in drawn)), ticks(min(lows), max(highs))

    def at_x(value: float) -> float:
        low, high = min(x_ticks[0], drawn[0].x), max(x_ticks[-1], drawn[-1].x)
        return _LEFT + (value - low) / ((high - low) or 1) * (WIDTH - _LEFT - _RIGHT)

    def at_y(value: float) -> float:
        low, high = y_ticks[0], y_ticks[-1]
        return HEIGHT - _BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - _TOP - _BOTTOM)

    parts = [Markup('<text class="title" x="0" y="12">{}</text>').format(title)]
    for y in y_ticks:
        parts.append(_line(_LEFT, at_y(y), WIDTH - _RIGHT, at_y(y), "grid"))
        parts.append(_text(_LEFT - 6, at_y(y) + 4, short(y), "end"))
    for x in x_ticks:
        parts.append(_text(at_x(x), HEIGHT - _BOTTOM + 16, short(x), "middle"))
    parts.append(_text(WIDTH - _RIGHT, HEIGHT - 4, x_label, "end"))
    if chance is not None:
        parts.append(_line(_LEFT, at_y(chance), WIDTH - _RIGHT, at_y(chance), "chance"))
        parts.append(_text(WIDTH - _RIGHT, at_y(chance) - 4, f"chance {chance:.4g}", "end"))
    for p in drawn:
        if p.error:
            parts.append(_line(at_x(p.x), at_y(p.y - p.error), at_x(p.x), at_y(p.y + p.error), "whisker"))
    path = " ".join(f"{at_x(p.x):.1f},{at_y(p.y):.1f}" for p in drawn)
    parts.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    if markers:
        parts += [
            Markup('<circle class="marker" cx="{}" cy="{}" r="3"/>').format(f"{at_x(p.x):.1f}", f"{at_y(p.y):.1f}")
            for p in drawn
        ]
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(parts)
    )


def thinned(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[Point], int]:
    """Points of a long series as means over blocks of steps, and how many steps a block has."""
    block = max(1, math.ceil(len(xs) / MAX_POINTS))
    starts = range(0, len(xs), block)
    return [
        Point(xs[min(i + block, len(xs)) - 1], sum(ys[i : i + block]) / len(ys[i : i + block])) for i in starts
    ], block


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round values that enclose [low, high]."""
    if high <= low:
        margin = abs(low) * 0.1 or 0.5
        low, high = low - margin, high + margin
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: float) -> str:
    """An axis label: 12k, 3.5M, 0.0003."""
    for power, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:.4g}{name}"
    return f"{value:.4g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2g}"


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        name, f"{x1:.1f}", f"{y1:.1f}", f"{x2:.1f}", f"{y2:.1f}"
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", anchor, escape(text))
