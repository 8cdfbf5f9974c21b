"""What the paper's released code computes where it is not what a rule's name says: ``faithful_to_release: true`` takes
these values instead.

Re-written from the specification of the released filters (MAP-Neo §2.3, §2.4, §11), defects included: ratios of words
and lines divided by characters, n-grams of characters instead of words, distinct characters counted where repeated ones
are meant, lengths with white space. In plain Python: who wants the release's corpus again pays the release's time.
benchmarks/released.py runs both side by side.
"""

from __future__ import annotations

import functools
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_HASHES = re.compile(r"#+")
_SENTENCE_MARKS = re.compile(r"[.!…?;\"]+")
_LONG_ELLIPSES = re.compile(r"…+|\.{2,}")
_BRACKETED = re.compile("【(.*?)】")
_NO_WORD = re.compile(r"[^\w\s]")
_NO_WORD_OR_QUOTE = re.compile(r"[^\w\s'\\]")
_SENTENCE_END = re.compile(r"""(?<=[.!?])[\"')\]’”]*\s+(?=[\"'(\[‘“]*[^\sa-z])""")
_READS_MORE = re.compile(r".*(read more)$")
_ASCII_MARKS = frozenset(string.punctuation)
_READ_MORE = ("readmore", "展开", "更多", "。。。")
_BULLETS = tuple("•●○■□▪▫※·➢‣▶◀◦–")
_MARKS = frozenset("…" + string.punctuation)
_FULL_WIDTH = "。！“”＃＄％＆‘’（）＊＋，－／：；＜＝＞？＠［＼］＾＿｀｛｜｝～"
_HALF_WIDTH = str.maketrans(_FULL_WIDTH, ".!\"\"#$%&''()*+,-/:;<=>?@[\\]^_`{|}~")
"""What the release maps; other full-width marks (、《》) stay."""
_ADDRESSES = (
    re.compile(r"(?:https?://|www\.)[^\s,，\u4e00-\u9fa5]*"),
    re.compile(r"[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+\.?"),
    re.compile(r"(?<![\u4e00-\u9fa5])\b[a-zA-Z0-9.-]+\.[a-z]{2,6}\b"),
)

REPETITION = (*(f"top_{n}gram" for n in (2, 3, 4)), *(f"duplicate_{n}grams" for n in range(5, 11)))


def english(text: str, stop_words: Sequence[str]) -> dict[str, float]:
    """The English signals as released, for one text: n-grams are of characters, and so are shares of words."""
    words, sentences = _words(unicodedata.normalize("NFKC", text)), _sentences(text)
    spaced, total = text.split(), max(1, len(text))
    bare, lines = max(1, len(_NO_WORD.sub("", text))), text.splitlines()
    plain_words = words if unicodedata.is_normalized("NFKC", text) else _words(text)
    hashes, ellipses = len(_HASHES.findall(text)), len(_LONG_ELLIPSES.findall(text))
    counts = Counter(spaced)
    out = {
        "mean_word_length": sum(map(len, words)) / max(1, len(words)),
        "ellipsis_lines": ellipses / total,
        "bullet_lines": sum(line.startswith(_BULLETS) for line in lines) / max(1, len(lines)),
        "letterless_words": sum(not any(c.isalpha() for c in word) for word in spaced) / total,
        "stop_words": float(len(set(stop_words) & set(_NO_WORD_OR_QUOTE.sub("", text).lower().split()))),
        "symbols_per_word": (text.count("#") + text.count("...") + text.count("…")) / max(1, len(words)),
        "words": float(len(words)),
        "chars": float(len(text.strip()) - sum(text.strip().count(c) for c in " \n\t")),
        "sentences": float(len(sentences)),
        "caps_words": sum(word.isalpha() and word.isupper() for word in spaced) / max(1, len(spaced)),
        "unique_words": len(counts) / max(1, len(spaced)),
        "read_more_sentences": sum(bool(_READS_MORE.match(s.lower())) for s in sentences) / max(1, len(sentences)),
        "hash_runs_per_word": hashes / total,
        "ellipsis_runs_per_word": ellipses / total,
        "punctuation": float(sum(c in _ASCII_MARKS for c in text)),
        "non_alphabetic": sum(not word.isalpha() for word in plain_words) / bare,
        "digits": sum(word.isdigit() for word in plain_words) / bare,
        "unigram_entropy": -sum(n / len(spaced) * math.log(n / len(spaced)) for n in counts.values()),
    }
    for n in (2, 3, 4):
        grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        out[f"top_{n}gram"] = (max(grams.values(), default=1) - 1) * n / total
    for n in range(5, 11):
        grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        out[f"duplicate_{n}grams"] = len({c for gram, times in grams.items() if times > 1 for c in gram}) / total
    return out


def _sentences(text: str) -> list[str]:
    """Sentences as NLTK's would mostly be: its model of abbreviations is no part of any package."""
    return [s for s in _SENTENCE_END.split(text.strip()) if s]


def _words(text: str) -> list[str]:
    """Words and marks as NLTK's Treebank rules cut them, sentence by sentence."""
    return [word for sentence in _sentences(text) for word in _treebank().tokenize(sentence)]


@functools.cache
def _treebank() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # type: ignore[import-untyped]

    return NLTKWordTokenizer()


def chinese(text: str, delete_urls: bool, segment_words: bool) -> dict[str, float]:
    """The Chinese signals as released, for one text: of the text after its punctuation was mapped and, with
    ``delete_urls``, its addresses were deleted; lengths and shares are of all characters of its NFKC form, white space
    included; repetition is never a reason (a tuple is tested).
    """
    import rjieba

    first = unicodedata.normalize("NFKC", text)
    out = {"bracketed": sum(map(len, _BRACKETED.findall(first))) / max(1, len(first))}
    text = half_width(text)
    if delete_urls:
        text = without_addresses(text)
    plain = unicodedata.normalize("NFKC", text)
    total, lines = max(1, len(plain)), plain.splitlines()
    bare = _NO_WORD.sub("", plain)
    words = [word for word in rjieba.cut(bare) if word.strip()] if segment_words else []
    counts = Counter(plain)
    ending = sum(line.endswith(_READ_MORE) for line in lines)
    return out | {
        "sentences": float(sum(bool(s.strip()) for s in _SENTENCE_MARKS.split(text))),
        "chars": float(len(plain)),
        "mean_word_length": (sum(map(len, words)) / max(1, len(words))) if segment_words else float("nan"),
        "hash_runs": len(_HASHES.findall(text)) / max(1, len(text)),
        "ellipsis_runs": len(_LONG_ELLIPSES.findall(text)) / max(1, len(text)),
        "digits": sum(c.isdigit() for c in bare) / max(1, len(bare)),
        "read_more_lines": ending / max(1, len(lines)),
        "bullet_lines": sum(line.startswith(_BULLETS) for line in lines) / max(1, len(lines)),
        "punctuation": float(sum(n for c, n in counts.items() if c in _MARKS)),
        "distinct_chars": len(counts) / total,
        "char_entropy": -sum(n / total * math.log(n / total) for n in counts.values()),
        **dict.fromkeys(REPETITION, 0.0),
    }


def without_addresses(text: str) -> str:
    """The text without what the release takes for addresses: its third pattern takes file names too."""
    for pattern in _ADDRESSES:
        text = pattern.sub("", text)
    return text


def half_width(text: str) -> str:
    """Full-width punctuation as half-width: the released Chinese filter leaves it so in the corpus."""
    return text.translate(_HALF_WIDTH)


def columns(
    texts: Sequence[str],
    lang: str,
    stop_words: Sequence[str] = (),
    delete_urls: bool = False,
    segment_words: bool = False,
) -> dict[str, npt.NDArray[np.float64]]:
    """The released values of all texts, by signal: float64 (n,) each."""
    measured = [english(t, stop_words) if lang == "en" else chinese(t, delete_urls, segment_words) for t in texts]
    names = measured[0] if measured else ()
    return {name: np.array([row[name] for row in measured]) for name in names}
