"""How numbers, amounts and times are written for people: everywhere the same."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Thousands apart, four digits of a fraction, powers of ten where it is very large or small."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    if abs(value) >= 1e12 or abs(value) < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def amount(value: float) -> str:
    """A large count in words: 3.1 million."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes: 3.1 GB."""
    for power, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= power:
            return f"{value / power:.3g} {name}"
    return f"{value:,.0f} bytes"


def age(seconds: float) -> str:
    """'42 s', '3.1 min', '5.0 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(n: int, what: str) -> str:
    """'1 artifact', '2 artifacts', '2 folders or files'."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {' or '.join(f'{word}s' for word in what.split(' or '))}"


def spoken(value: object) -> str:
    """A value as a person reads it: numbers as :func:`number` writes them, anything else as it is."""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def at(run: str, checkpoint: str) -> str:
    """A checkpoint as people call it: RUN@STEP."""
    step, named, _ = checkpoint.partition("-")
    return f"{run}@{int(step)}" if named and step.isdigit() else f"{run} {checkpoint}"


def titled(title: str) -> str:
    """A job's title as people read it: ``eval_scores/main 0000350-6697871b`` is eval_scores/main@350."""
    what, named, checkpoint = title.partition(" ")
    return at(what, checkpoint) if named else title
