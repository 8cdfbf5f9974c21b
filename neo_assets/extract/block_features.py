"""What can be said of a block: of its text, its neighbours, the elements around it and what they are called."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.extract.page_blocks import (
    CAPITALS,
    COMMAS,
    DIGITS,
    ENDS,
    ENDS_SENTENCE,
    IDEOGRAPHS,
    LINKED,
    WEIGHT,
    WORDS,
    Blocks,
    block_above,
)
from neo_assets.web.flat_page import FlatPage
from neo_assets.web.html_names import BLOCK_LEVEL, GROUPS, TAG, TAGS

Floats = NDArray[np.float32]

_CONTEXTS = (
    ("p",), ("li",), ("h1",), ("h2", "h3"), ("h4", "h5", "h6"), ("td", "th"), ("pre",), ("blockquote",),
    ("figure", "figcaption", "caption"), ("dd", "dt"), ("nav",), ("header", "hgroup"), ("footer",), ("aside",),
    ("form", "fieldset"), ("article",), ("main",), ("section",), ("ul", "menu"), ("ol",), ("table",), ("address",),
    ("details", "summary"), ("a",),
)  # fmt: skip
_N_CONTEXTS, _N_GROUPS, _H1 = len(_CONTEXTS), len(GROUPS), 1 << 2
_CONTEXT = np.zeros(len(TAGS) + 1, np.int64)
for _i, _names in enumerate(_CONTEXTS):
    for _name in _names:
        _CONTEXT[TAG[_name]] |= 1 << _i
_PARAGRAPH = np.zeros(len(TAGS) + 1, np.uint8)
for _name in ("p", "li", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "dd", "dt", "td", "th", "tr"):
    _PARAGRAPH[TAG[_name]] = 1
_UNNAMED = np.zeros(len(TAGS) + 1, np.uint8)
for _name in ("html", "body"):
    _UNNAMED[TAG[_name]] = 1
"""Elements whose class speaks of the page and not of a part of it."""
_LEVELS = 4

FEATURES = (
    "weight", "link_density", "words", "ends", "commas", "digits", "capitals", "ideographs", "ends_sentence", "depth",
    "place", "place_by_weight", "blocks", "page_weight", "repeated", "line_breaks", "after_h1",
    *(f"{what}_{where}" for where in ("before2", "before", "after", "after2") for what in ("weight", "density", "tag")),
    "alike",
    *(f"own_{names[0]}" for names in _CONTEXTS),
    *(f"in_{names[0]}" for names in _CONTEXTS),
    *(f"near_{group}" for group in GROUPS),
    *(f"any_{group}" for group in GROUPS),
    *(f"{what}_{level}" for level in range(1, _LEVELS + 1) for what in ("share", "density", "ends", "mean")),
    "in_top", "above_top", "after_top", "top_share", "in_most",
)  # fmt: skip
"""What the first forest goes by, in the order in which :func:`_features` writes it."""


def features_of(page: FlatPage, blocks: Blocks) -> Floats:
    """Features (n x :data:`FEATURES`, float32) of a page's blocks."""
    return _features(  # type: ignore[no-any-return]
        page.tag, page.parent, page.words, blocks.element, blocks.low, blocks.high, blocks.counts, blocks.hashes,
        blocks.breaks, BLOCK_LEVEL, _CONTEXT, _PARAGRAPH, _UNNAMED, len(FEATURES),
    )  # fmt: skip


@kernel
def _features(  # type: ignore[no-untyped-def]
    tag, parent, words, element, low, high, counts, hashes, breaks, block_level, context, paragraph, unnamed, width
):
    n = element.size
    out = np.zeros((n, width), np.float32)
    if n == 0:
        return out
    sums = _sums(counts)
    inherited, said, depth = _around(tag, parent, words, context, unnamed)
    top = _top(tag, parent, element, low, high, counts, sums, block_level, paragraph, unnamed)
    most = _most(low, high, sums)
    f = _of_text(out, 0, element, depth, counts, sums, hashes, breaks)
    f = _of_headings(out, f, tag, element, context)
    f = _of_neighbours(out, f, tag, parent, words, element, counts)
    f = _of_names(out, f, tag, parent, words, element, inherited, said, context, unnamed)
    f = _of_those_above(out, f, tag, parent, element, low, high, sums, block_level)
    _of_place(out, f, parent, element, depth, low, high, sums, top, most)
    return out


@kernel
def _sums(counts):  # type: ignore[no-untyped-def]
    """Sums over the blocks before each: weight, of links, marks that end sentences, and weight said in sentences."""
    sums = np.zeros((counts.shape[0] + 1, 4))
    for b in range(counts.shape[0]):
        weight, plain = counts[b, WEIGHT], counts[b, WEIGHT] - counts[b, LINKED]
        sums[b + 1, 0] = sums[b, 0] + weight
        sums[b + 1, 1] = sums[b, 1] + counts[b, LINKED]
        sums[b + 1, 2] = sums[b, 2] + counts[b, ENDS]
        sums[b + 1, 3] = sums[b, 3] + (plain if counts[b, ENDS_SENTENCE] > 0 or weight > 80 else 0.0)
    return sums


@kernel
def _around(tag, parent, words, context, unnamed):  # type: ignore[no-untyped-def]
    """Of each element: the kinds of it and of those around it, what all their names say, and its depth."""
    elements = tag.size
    inherited, said, depth = np.zeros(elements, np.int64), np.zeros(elements, np.int64), np.zeros(elements, np.int64)
    for e in range(elements):
        inherited[e] = context[tag[e]]
        said[e] = 0 if unnamed[tag[e]] else words[e]
        up = parent[e]
        if up >= 0:
            inherited[e] |= inherited[up]
            said[e] |= said[up]
            depth[e] = depth[up] + 1
    return inherited, said, depth


@kernel
def _top(tag, parent, element, low, high, counts, sums, block_level, paragraph, unnamed):  # type: ignore[no-untyped-def]
    """The element that most paragraphs speak for (after Readability's idea)."""
    score = np.zeros(tag.size)
    for b in range(element.size):
        plain = counts[b, WEIGHT] - counts[b, LINKED]
        if plain < 40 or counts[b, LINKED] > 0.5 * counts[b, WEIGHT]:
            continue
        points = 1.0 + min(counts[b, COMMAS], 6.0) + min(plain / 100.0, 3.0)
        e = element[b]
        if e >= 0 and paragraph[tag[e]]:
            e = block_above(parent[e], tag, parent, block_level)
        share = points
        for level in range(4):
            if e < 0 or unnamed[tag[e]]:
                break
            score[e] += share
            share = points / 2.0 if level == 0 else points / (3.0 * (level + 1))
            e = block_above(parent[e], tag, parent, block_level)
    top, best = 0, -1.0
    for e in range(tag.size):
        if score[e] > 0:
            density = (sums[high[e], 1] - sums[low[e], 1]) / (sums[high[e], 0] - sums[low[e], 0] + 1.0)
            if score[e] * (1.0 - density) > best:
                best, top = score[e] * (1.0 - density), e
    return top


@kernel
def _most(low, high, sums):  # type: ignore[no-untyped-def]
    """The innermost element that holds most of what is said in sentences."""
    most, whole = 0, sums[sums.shape[0] - 1, 3]
    for e in range(low.size):
        if whole > 0 and sums[high[e], 3] - sums[low[e], 3] >= 0.6 * whole:
            most = e
    return most


@kernel
def _of_text(out, f, element, depth, counts, sums, hashes, breaks):  # type: ignore[no-untyped-def]
    n = element.size
    whole = sums[n, 0] + 1.0
    order = np.argsort(hashes)
    for i in range(1, n):
        if hashes[order[i]] == hashes[order[i - 1]]:
            out[order[i], f + 14] = out[order[i - 1], f + 14] = 1.0  # repeated on this page
    for b in range(n):
        weight = counts[b, WEIGHT] + 1e-9
        out[b, f] = np.log1p(counts[b, WEIGHT])
        out[b, f + 1] = counts[b, LINKED] / weight
        out[b, f + 2] = np.log1p(counts[b, WORDS])
        out[b, f + 3] = counts[b, ENDS]
        out[b, f + 4] = counts[b, COMMAS]
        out[b, f + 5] = counts[b, DIGITS] / weight
        out[b, f + 6] = counts[b, CAPITALS] / weight
        out[b, f + 7] = counts[b, IDEOGRAPHS] / weight
        out[b, f + 8] = counts[b, ENDS_SENTENCE]
        out[b, f + 9] = depth[element[b]] if element[b] >= 0 else 0
        out[b, f + 10] = b / n
        out[b, f + 11] = sums[b, 0] / whole
        out[b, f + 12] = np.log1p(n)
        out[b, f + 13] = np.log1p(whole)
        out[b, f + 15] = breaks[b]
    return f + 16


@kernel
def _of_headings(out, f, tag, element, context):  # type: ignore[no-untyped-def]
    after = False
    for b in range(element.size):
        after = after or (element[b] >= 0 and context[tag[element[b]]] & _H1 > 0)
        out[b, f] = after
    return f + 1


@kernel
def _of_neighbours(out, f, tag, parent, words, element, counts):  # type: ignore[no-untyped-def]
    n = element.size
    for b in range(n):
        e, column = element[b], f
        for step in (-2, -1, 1, 2):
            if 0 <= b + step < n:
                other = element[b + step]
                out[b, column] = np.log1p(counts[b + step, WEIGHT])
                out[b, column + 1] = counts[b + step, LINKED] / (counts[b + step, WEIGHT] + 1e-9)
                out[b, column + 2] = other >= 0 and e >= 0 and tag[other] == tag[e]
            else:
                out[b, column : column + 3] = -1.0
            column += 3
        for step in (-3, -2, -1, 1, 2, 3):
            other = element[b + step] if 0 <= b + step < n else -1
            if other >= 0 and e >= 0 and parent[other] == parent[e]:
                out[b, column] += tag[other] == tag[e] and words[other] == words[e]
    return f + 13


@kernel
def _of_names(out, f, tag, parent, words, element, inherited, said, context, unnamed):  # type: ignore[no-untyped-def]
    for b in range(element.size):
        e = element[b]
        if e < 0:
            continue
        near, up = 0, e
        for _ in range(3):
            if up >= 0 and not unnamed[tag[up]]:
                near |= words[up]
                up = parent[up]
        for i in range(_N_CONTEXTS):
            out[b, f + i] = context[tag[e]] >> i & 1
            out[b, f + _N_CONTEXTS + i] = inherited[e] >> i & 1
        for i in range(_N_GROUPS):
            out[b, f + 2 * _N_CONTEXTS + i] = near >> i & 1
            out[b, f + 2 * _N_CONTEXTS + _N_GROUPS + i] = said[e] >> i & 1
    return f + 2 * (_N_CONTEXTS + _N_GROUPS)


@kernel
def _of_those_above(out, f, tag, parent, element, low, high, sums, block_level):  # type: ignore[no-untyped-def]
    whole = sums[element.size, 0] + 1.0
    for b in range(element.size):
        up, column = element[b], f
        for _ in range(_LEVELS):
            up = block_above(parent[up], tag, parent, block_level) if up >= 0 else -1
            if up >= 0:
                held = sums[high[up], 0] - sums[low[up], 0]
                out[b, column] = held / whole
                out[b, column + 1] = (sums[high[up], 1] - sums[low[up], 1]) / (held + 1.0)
                out[b, column + 2] = 100.0 * (sums[high[up], 2] - sums[low[up], 2]) / (held + 1.0)
                out[b, column + 3] = np.log1p(held / max(high[up] - low[up], 1))
            else:
                out[b, column : column + 4] = -1.0
            column += 4
    return f + 4 * _LEVELS


@kernel
def _of_place(out, f, parent, element, depth, low, high, sums, top, most):  # type: ignore[no-untyped-def]
    """Where a block stands to the elements that hold most; ``above_top``: how far up a common ancestor is."""
    holds_top = np.zeros(parent.size, np.uint8)
    e = top
    while e >= 0:
        holds_top[e] = 1
        e = parent[e]
    share = (sums[high[top], 0] - sums[low[top], 0]) / (sums[element.size, 0] + 1.0)
    for b in range(element.size):
        common = element[b]
        while common >= 0 and not holds_top[common]:
            common = parent[common]
        out[b, f] = low[top] <= b < high[top]
        out[b, f + 1] = depth[top] - depth[common] if common >= 0 else 0
        out[b, f + 2] = b >= high[top]
        out[b, f + 3] = share
        out[b, f + 4] = low[most] <= b < high[most]
