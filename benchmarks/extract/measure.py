"""Precision and recall of 4-grams: words, and each Han character, kana or syllable by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

TOKEN = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+")


def grams(text: str) -> Counter[tuple[str, ...]]:
    tokens = TOKEN.findall(text)
    if len(tokens) < 4:
        return Counter([tuple(tokens)] if tokens else [])
    return Counter(zip(*(tokens[i:] for i in range(4)), strict=False))


def precision_recall(text: str, gold: str) -> tuple[float, float]:
    found, wanted = grams(text), grams(gold)
    same = sum((found & wanted).values())
    return same / sum(found.values()) if found else 0.0, same / sum(wanted.values()) if wanted else 1.0


def f1(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """(mean precision, mean recall, F1 of the means) over pages."""
    precision, recall = (sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1))
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)
