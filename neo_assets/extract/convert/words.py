"""What tells lines apart that are written by people: ideographs, marks of lists, breaks of words."""

from __future__ import annotations

import re

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_IDEOGRAPH = re.compile(f"[{_CJK}\U00020000-\U000323af]")
HYPHEN = "\u00ad"
"""A soft hyphen: the file says that it breaks a word."""
BULLET = re.compile(r"(?:[•●○■□▪▫※‣▶◦–—*·\-]|\(?[0-9a-zA-Z]{1,3}[.)]|[（(]?[一二三四五六七八九十]{1,3}[、）)])\s")
"""How an item of a list begins."""


def is_ideograph(character: str) -> bool:
    """Whether a character is written without spaces around it: Chinese or Japanese, or its punctuation."""
    return _IDEOGRAPH.match(character) is not None
