"""What the paper's released code computes where it is not what a rule's name says: ``faithful_to_release: true`` takes
these values instead.

Re-written from the specification of the released filters (MAP-Neo §2.3, §2.4, §11), defects included: ratios of words
and lines divided by characters, n-grams of characters instead of words, and distinct characters counted where repeated
ones are meant. Words are ``\\w+`` runs and single marks, in place of NLTK's tokenizer, whose data is not shipped. In
plain Python: who wants the release's corpus again pays the release's time.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_TOKEN = re.compile(r"\w+|[^\w\s]")
_ELLIPSES = re.compile(r"\.{3,}|…+")
_HASHES = re.compile(r"#+")
_CHINESE_SENTENCE = re.compile(r"[.!…?;\"]")
_HALF_WIDTH = str.maketrans(
    {
        "。": ".",
        "，": ",",
        "！": "!",
        "？": "?",
        "；": ";",
        "：": ":",
        "（": "(",
        "）": ")",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "、": ",",
        "《": "<",
        "》": ">",
    }
)

REPETITION = (*(f"top_{n}gram" for n in (2, 3, 4)), *(f"duplicate_{n}grams" for n in range(5, 11)))


def english(text: str) -> dict[str, float]:
    """The English signals whose released computation differs from their name, for one text."""
    plain = unicodedata.normalize("NFKC", text)
    words, chars = _TOKEN.findall(plain), max(1, len(plain))
    spoken = max(1, sum(not c.isspace() and unicodedata.category(c)[0] != "P" for c in plain))
    ellipses, hashes = len(_ELLIPSES.findall(text)), len(_HASHES.findall(plain))
    out = {
        "mean_word_length": sum(map(len, words)) / max(1, len(words)),
        "ellipsis_lines": ellipses / chars,
        "letterless_words": sum(not any(c.isalpha() for c in w) for w in words) / chars,
        "hash_runs_per_word": hashes / chars,
        "ellipsis_runs_per_word": ellipses / chars,
        "non_alphabetic": sum(not w.isalpha() for w in words) / spoken,
        "digits": sum(w.isdigit() for w in words) / spoken,
    }
    for n in (2, 3, 4):
        grams = Counter(plain[i : i + n] for i in range(len(plain) - n + 1))
        out[f"top_{n}gram"] = (max(grams.values(), default=1) - 1) * n / chars
    for n in range(5, 11):
        grams = Counter(plain[i : i + n] for i in range(len(plain) - n + 1))
        out[f"duplicate_{n}grams"] = len({c for gram, times in grams.items() if times > 1 for c in gram}) / chars
    return out


def chinese(text: str) -> dict[str, float]:
    """The same for Chinese: sentences are split on half-width marks after the punctuation was mapped, and repetition is
    never a reason (a tuple is tested).
    """
    return {
        "sentences": float(sum(bool(s.strip()) for s in _CHINESE_SENTENCE.split(half_width(text)))),
        **dict.fromkeys(REPETITION, 0.0),
    }


def half_width(text: str) -> str:
    """Full-width punctuation as half-width: the released Chinese filter leaves it so in the corpus."""
    return text.translate(_HALF_WIDTH)


def columns(texts: Sequence[str], lang: str) -> dict[str, npt.NDArray[np.float64]]:
    """The released values of all texts, by signal: float64 (n,) each."""
    measured = [english(t) if lang == "en" else chinese(t) for t in texts]
    names = measured[0] if measured else ()
    return {name: np.array([row[name] for row in measured]) for name in names}
