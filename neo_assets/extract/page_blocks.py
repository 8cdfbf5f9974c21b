"""The blocks of a page, and what is counted of the text of each.

A block is what stands on lines of its own: a paragraph, a heading, a list item, a row of a table. Its text is taken or
left as a whole. Lengths are weights: a letter counts 1, an ideograph 2.5, since it says as much as two or three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.text.characters import character_table
from neo_assets.text.text_kernels import CLOSER, DIGIT, IDEOGRAPH, SEMICOLON, SENTENCE_END, SPACE, UPPER, WORD
from neo_assets.web.flat_page import BOUNDARY, BREAK, IN_LINK, TEXT, FlatPage, Integers, character
from neo_assets.web.html_names import BLOCK_LEVEL, HASH_PRIME, HASH_SEED

COUNTS = (
    "weight", "link_weight", "words", "ends", "commas", "digits", "capitals", "ideographs", "ends_sentence",
)  # fmt: skip
"""What is counted of a block's text. ``ends``: marks that end sentences; ``ends_sentence``: 1 where the text does."""
WEIGHT, LINKED, WORDS, ENDS, COMMAS, DIGITS, CAPITALS, IDEOGRAPHS, ENDS_SENTENCE = range(len(COUNTS))
_N_COUNTS = len(COUNTS)
_IDEOGRAPH_WEIGHT = 2.5
_DOT, _COMMA, _IDEOGRAPHIC_COMMA, _FULL_WIDTH_COMMA = ord("."), ord(","), ord("、"), ord("，")


@dataclass(frozen=True)
class Blocks:
    """Blocks in document order: ``first`` and ``end`` (runs), ``element`` (the innermost that begins lines),
    ``counts`` (n x ``COUNTS``, float64), ``hashes`` of what is seen of them, ``breaks`` (``<br>`` in them). ``low`` and
    ``high``: the blocks of each element of the page.
    """

    first: Integers
    end: Integers
    element: Integers
    low: Integers
    high: Integers
    counts: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    breaks: Integers


def blocks_of(page: FlatPage) -> Blocks:
    """Cut a page into its blocks. What has no visible character is none."""
    first, end, element, counts, hashes, breaks = _cut(
        page.source, page.tag, page.parent, page.kind, page.start, page.stop, page.owner, page.marks, BLOCK_LEVEL,
        character_table().flags,
    )  # fmt: skip
    low, high = np.searchsorted(first, page.first), np.searchsorted(first, page.end)
    return Blocks(first, end, element, low, high, counts, hashes, breaks)


# ------------------------------------------------------------------ cutting


@kernel
def block_above(e, tag, parent, block_level):  # type: ignore[no-untyped-def]
    while e >= 0 and not block_level[tag[e]]:
        e = parent[e]
    return e


@kernel
def _shows(code, flag):  # type: ignore[no-untyped-def]
    """Whether a reader sees a character: white space, joiners and marks of direction show nothing."""
    return not (flag & SPACE or 0x200B <= code <= 0x200F or 0x2060 <= code <= 0x2064 or code == 0xFEFF or code == 0xAD)


@kernel
def _cut(source, tag, parent, kind, start, stop, owner, marks, block_level, flags):  # type: ignore[no-untyped-def]
    runs = kind.size
    first, end, element = np.zeros(runs, np.int64), np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    counts = np.zeros((runs, _N_COUNTS))
    hashes, breaks = np.zeros(runs, np.uint64), np.zeros(runs, np.int64)
    made = r = 0
    while r < runs:
        if kind[r] == BOUNDARY:
            r += 1
            continue
        begin, shown = r, -1
        counts[made, :] = 0.0
        hashes[made], breaks[made] = HASH_SEED, 0
        in_word = False
        while r < runs and kind[r] != BOUNDARY:
            if kind[r] == TEXT:
                linked = marks[r] & IN_LINK
                in_word, found = _count(source, start[r], stop[r], linked, in_word, made, counts, hashes, flags)
                if found and shown < 0:
                    shown = owner[r]
            else:
                in_word = False
                breaks[made] += kind[r] == BREAK
            r += 1
        if shown >= 0:
            first[made], end[made], element[made] = begin, r, block_above(shown, tag, parent, block_level)
            made += 1
    return first[:made], end[:made], element[:made], counts[:made], hashes[:made], breaks[:made]


@kernel
def _count(source, i, limit, linked, in_word, b, counts, hashes, flags):  # type: ignore[no-untyped-def]
    """Count a run of text into block ``b``. Returns (whether it ends within a word, whether it shows anything)."""
    found = False
    while i < limit:
        code, i = character(source, i, limit)
        flag = flags[code] if code < flags.size else np.uint16(0)
        if not _shows(code, flag):
            in_word = in_word and not flag & SPACE
            continue
        found = True
        hashes[b] = (hashes[b] ^ np.uint64(code)) * HASH_PRIME
        if flag & WORD:
            weight = _IDEOGRAPH_WEIGHT if flag & IDEOGRAPH else 1.0
            counts[b, WEIGHT] += weight
            counts[b, LINKED] += weight if linked else 0.0
            counts[b, WORDS] += not in_word
            counts[b, DIGITS] += flag & DIGIT > 0
            counts[b, CAPITALS] += flag & UPPER > 0
            counts[b, IDEOGRAPHS] += weight if flag & IDEOGRAPH else 0.0
        in_word = flag & WORD > 0
        ends = flag & SENTENCE_END > 0 or code == _DOT
        counts[b, ENDS] += ends
        counts[b, COMMAS] += flag & SEMICOLON > 0 or code in (_COMMA, _FULL_WIDTH_COMMA, _IDEOGRAPHIC_COMMA)
        if not flag & CLOSER:  # a closing quotation mark says nothing of a sentence's end
            counts[b, ENDS_SENTENCE] = 1.0 if ends else 0.0
    return in_word, found
