"""What every character is, as arrays that compiled loops can index: its classes, and what it counts as when two texts
are compared.

One table serves English and Chinese alike: full-width forms fold to their half-width ones, so that ``ＡＢＣ１２３`` and
``abc123`` are the same word. Only characters whose NFKC form is a single character are folded; ``ﬁ`` stays one letter
and ``…`` stays one mark, which keeps every loop a plain walk over code points. Texts themselves are never changed by
this.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LIMIT = 0x40000
"""Code points from here on (unassigned planes, tags, private use) have no class and fold to themselves."""

WORD, LETTER, DIGIT, SPACE = 1, 2, 4, 8
PUNCTUATION, UPPER, LOWER, IDEOGRAPH = 16, 32, 64, 128
BULLET, SENTENCE_END, SEMICOLON, CLOSER = 256, 512, 1024, 2048

UNSEEN = 0
"""What characters fold to that nobody sees: joiners, marks of direction, variation selectors. They never count where
two texts are compared.
"""

COMPATIBLE = range(0x2F800, 0x2FA20)
"""The ideographs above the first two planes that are others' doubles."""

BULLETS = "•●○■□▪▫※·➢‣▶◀◦–"
_ENDS = "!?。！？…｡"
_SEMICOLONS = ";；"
_CLOSERS = "\"'”’»)]}）】」』》〉"


@dataclass(frozen=True)
class CharacterTable:
    """``flags``: uint16 (LIMIT,), sums of the classes above; ``fold``: uint32 (LIMIT,), the
    character compared instead.
    """

    flags: npt.NDArray[np.uint16]
    fold: npt.NDArray[np.uint32]


@functools.cache
def character_table() -> CharacterTable:
    """The table of this Python's Unicode version (see ``unicodedata.unidata_version``); takes about 0.2 s once."""
    flags = np.zeros(LIMIT, dtype=np.uint16)
    fold = np.arange(LIMIT, dtype=np.uint32)
    for code in (*range(0x20000), *COMPATIBLE):
        if 0x3400 <= code < 0x4DC0 or 0x4E00 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4 or 0xD800 <= code < 0xF900:
            continue  # set by range below, or no characters at all
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cn" or category == "Co":
            continue
        flags[code] = _flags(character, category)  # of an ideograph, set by range below
        compatible = unicodedata.normalize("NFKC", character)
        lowered = (compatible if len(compatible) == 1 else character).lower()
        if len(lowered) == 1:
            fold[code] = ord(lowered)
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
            fold[code] = UNSEEN
    fold[ord("’")] = ord("'")
    flags[0xAC00:0xD7A4] = WORD | LETTER
    for begin, end in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, LIMIT)):
        flags[begin:end] = WORD | LETTER | IDEOGRAPH
    return CharacterTable(flags, fold)


def _flags(character: str, category: str) -> int:
    code = ord(character)
    found = 0
    found |= WORD if character.isalnum() or category[0] == "M" else 0
    found |= LETTER if character.isalpha() or category[0] == "M" else 0
    found |= DIGIT if category == "Nd" else 0
    found |= SPACE if character.isspace() else 0
    found |= PUNCTUATION if category[0] == "P" else 0
    found |= UPPER if character.isupper() else 0
    found |= LOWER if character.islower() else 0
    han = 0xF900 <= code < 0xFB00 or 0x2E80 <= code < 0x2FE0 or code == 0x3005
    kana = 0x3040 <= code < 0x3100 or 0x31F0 <= code < 0x3200
    found |= IDEOGRAPH if found & WORD and (han or kana) else 0
    found |= BULLET if character in BULLETS else 0
    found |= SENTENCE_END if character in _ENDS else 0
    found |= SEMICOLON if character in _SEMICOLONS else 0
    found |= CLOSER if character in _CLOSERS else 0
    return found
