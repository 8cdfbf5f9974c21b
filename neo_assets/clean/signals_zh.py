"""Chinese rule signals: one number per document and rule, computed once.

A character is what is not whitespace. Full- and half-width punctuation and digits are told alike; the text itself is never changed for
measuring. Traditional and simplified are treated the same.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter

_SENTENCE_END = re.compile(r"[。！？；…!?;]+|\.(?=\s|$)")
_BRACKETED = re.compile(r"【([^【】]*)】")
_HASHES = re.compile(r"[#＃]+")
_BULLETS = tuple("•●○■□▪▫※·➢‣▶◀◦–")

SIGNALS = ("chars", "bracketed", "sentences", "digits", "hashes", "bullet_lines", "distinct_chars", "char_entropy")


def chinese_signals(text: str) -> tuple[float, ...]:
    """Values of :data:`SIGNALS` for one text. An empty text has zeros everywhere."""
    chars = [c for c in text if not c.isspace()]
    n_chars = len(chars)
    if not n_chars:
        return (0.0,) * len(SIGNALS)
    counts = Counter(chars)
    spoken = sum(n for c, n in counts.items() if not unicodedata.category(c).startswith("P"))
    digits = sum(n for c, n in counts.items() if unicodedata.category(c) == "Nd")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    pieces = [piece for piece in _SENTENCE_END.split(text) if piece.strip()]
    return (
        float(n_chars),
        sum(len(inside) for inside in _BRACKETED.findall(text)) / n_chars,
        float(len(pieces)),
        digits / max(1, spoken),
        len(_HASHES.findall(text)) / n_chars,
        sum(line.startswith(_BULLETS) for line in lines) / max(1, len(lines)),
        len(counts) / n_chars,
        -math.fsum(n / n_chars * math.log(n / n_chars) for n in sorted(counts.values())),
    )
