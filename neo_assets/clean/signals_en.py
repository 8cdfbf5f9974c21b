"""English rule signals: one number per document and rule, computed once.

Words are maximal runs of letters, digits and inner apostrophes of the NFKC text; a line is what ``\\n`` ends. Ratios are what the rule's
name says (per line, per word); the released code divides several of them by characters instead (MAP-Neo §11.8).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BULLETS = tuple("•●○■□▪▫※·➢‣▶◀◦–")
_ELLIPSES = ("...", "…")
_SYMBOL = re.compile(r"#|\.\.\.|…")

SIGNALS = ("words", "mean_word_length", "bullet_lines", "ellipsis_lines", "symbols_per_word", "stop_words", "curly_braces", "unigram_entropy")


def english_signals(text: str, stop_words: Collection[str]) -> tuple[float, ...]:
    """Values of :data:`SIGNALS` for one text. An empty text has zeros everywhere."""
    plain = unicodedata.normalize("NFKC", text)
    words = _WORD.findall(plain)
    lines = [line.strip() for line in plain.split("\n") if line.strip()]
    counts = Counter(word.lower() for word in words)
    n_words, n_lines = len(words), max(1, len(lines))
    return (
        float(n_words),
        sum(map(len, words)) / n_words if n_words else 0.0,
        sum(line.startswith(_BULLETS) for line in lines) / n_lines,
        sum(line.endswith(_ELLIPSES) for line in lines) / n_lines,
        len(_SYMBOL.findall(text)) / max(1, n_words),
        float(sum(word in counts for word in stop_words)),
        sum(plain.count(brace) for brace in "{}") / max(1, len(plain)),
        entropy(counts, n_words),
    )


def entropy(counts: Counter[str], total: int) -> float:
    """Shannon entropy in nats. Summed in sorted order, so that the same counts always give the same bits."""
    return -math.fsum(c / total * math.log(c / total) for c in sorted(counts.values())) if total else 0.0
