"""What the paper's Chinese filter changes in a text it keeps: URLs are deleted (step 2), and lines that are none are
dropped (step 6).

Both are switches of the recipe. The released code runs the first on every document; its third pattern takes file names
like ``sources.list`` for URLs, which is why the laptop recipe leaves it out. The line rules were written there and
never called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_URLS = (
    re.compile(r"(?:https?://|www\.)[^\s\u3000-\u303f\u3400-\u9fff\uff00-\uffef]+", re.IGNORECASE),
    re.compile(r"(?<![\w.])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+){3}(?![\w.])", re.ASCII),
    re.compile(r"(?<![\u3400-\u9fff\w.-])[A-Za-z0-9-]+\.[A-Za-z]{2,4}(?![\w.])", re.ASCII),
)
_LINE_ENDS = (".", "!", "?", "…", "。", "！", "？")
_NEVER = ("javascript", "lorem ipsum")
MIN_WORDS = 3
"""Words, as jieba cuts them, that a line must have (released code)."""


def without_urls(text: str) -> str:
    """The text without http and www addresses, dotted names of four parts, and bare ``name.tld`` that no Chinese
    character precedes.
    """
    for pattern in _URLS:
        text = pattern.sub("", text)
    return text


def real_lines(text: str, bad_words: Sequence[str]) -> str:
    """Lines that end as sentences do, have three words at least, and hold neither script notices, filler nor a listed
    word; blank lines stay.
    """
    import rjieba

    def keeps(line: str) -> bool:
        bare = line.strip()
        if not bare:
            return True
        lower = bare.lower()
        if not bare.endswith(_LINE_ENDS) or any(word in lower for word in (*_NEVER, *bad_words)):
            return False
        return sum(any(c.isalnum() for c in word) for word in rjieba.cut(bare)) >= MIN_WORDS

    return "\n".join(line for line in text.split("\n") if keeps(line)).strip("\n")


@dataclass(frozen=True)
class Edit:
    """A change of kept texts, and the name it has in the ledger."""

    rule: str
    apply: Callable[[str], str]
