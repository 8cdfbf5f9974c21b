"""An index that a page searches without a server: words, and pairs of neighbouring Chinese characters, each with the
documents that have it, in 256 scripts of which a query loads a few.

Every text that has a query's characters in a row has each of its pairs, so nothing that is there is missed; a text that
has the pairs apart is taken out when it is shown. A last character stands for itself, so that one character can be
looked for. Words are found whole, the last one of a query by its beginning. Both sides normalise alike: NFKC, lower
case.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

SHARDS = 256
LONGEST_WORD = 32
_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
RUNS = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Of postings: five bits each, the lowest first; those of the upper half go on."""


def normal(text: str) -> str:
    """A text as it is compared."""
    return unicodedata.normalize("NFKC", text).lower()


def terms(text: str) -> Iterator[str]:
    """Everything that a normalised text can be found by, repeats included."""
    for run in RUNS.findall(text):
        if _IS_CJK.match(run):
            yield from map("".join, itertools.pairwise(run))
            yield run[-1]
        else:
            yield run[:LONGEST_WORD]


def shard_of(term: str) -> int:
    """The script that a term is in: all that begin with one Chinese character, or with two letters, are together."""
    first = ord(term[0])
    second = 0 if _IS_CJK.match(term) or len(term) == 1 else ord(term[1])
    return (first * 31 + second) % SHARDS


def shards(texts: Iterable[str]) -> list[str]:
    """The index of texts, numbered as they come: a script for each shard."""
    postings: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        for term in set(terms(normal(text))):
            postings[term].append(number)
    held: list[dict[str, str]] = [{} for _ in range(SHARDS)]
    for term in sorted(postings):
        held[shard_of(term)][term] = packed(postings[term])
    return [
        f"neo.index({n},{json.dumps(one, ensure_ascii=False, separators=(',', ':'))})\n" for n, one in enumerate(held)
    ]


def packed(numbers: Sequence[int]) -> str:
    """Ascending numbers as differences in a few characters each."""
    out: list[str] = []
    before = -1
    for number in numbers:
        gap = number - before - 1
        before = number
        while gap >= 32:
            out.append(_DIGITS[32 + (gap & 31)])
            gap >>= 5
        out.append(_DIGITS[gap])
    return "".join(out)
