"""The blocks of a page, and what can be counted of each: what the choice of the main content goes by.

A block is what stands on lines of its own: a paragraph, a heading, a list item, a row of a table. Its text is taken or
left as a whole. Lengths are weights: a letter counts 1, a Han character 2.5, since it says as much as two or three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.web.flat_page import BLOCK_LEVEL, GROUPS, TAG, TAGS, FlatPage, Integers

Floats = NDArray[np.float32]

COUNTS = (
    "weight", "link_weight", "words", "ends", "commas", "digits", "capitals", "han_weight", "ends_sentence", "hash",
)  # fmt: skip
"""What is counted of a block's text; ``ends``: marks that end sentences; ``hash``: of its text without white space."""
_CONTEXTS = (
    ("p",), ("li",), ("h1",), ("h2", "h3"), ("h4", "h5", "h6"), ("td", "th"), ("pre",), ("blockquote",),
    ("figure", "figcaption", "caption"), ("dd", "dt"), ("nav",), ("header", "hgroup"), ("footer",), ("aside",),
    ("form", "fieldset"), ("article",), ("main",), ("section",), ("ul", "menu"), ("ol",), ("table",), ("address",),
    ("details", "summary"), ("a",),
)  # fmt: skip
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

FEATURES = (
    "weight", "link_density", "words", "ends", "commas", "digits", "capitals", "han", "ends_sentence", "depth",
    "place", "place_by_weight", "blocks", "page_weight",
    *(f"{what}_{where}" for where in ("before2", "before", "after", "after2") for what in ("weight", "density", "tag")),
    *(f"own_{names[0]}" for names in _CONTEXTS),
    *(f"in_{names[0]}" for names in _CONTEXTS),
    *(f"near_{group}" for group in GROUPS),
    *(f"any_{group}" for group in GROUPS),
    *(f"{what}_{level}" for level in (1, 2, 3, 4) for what in ("share", "density", "ends", "mean")),
    "in_top", "above_top", "after_top", "top_share", "in_most", "after_h1", "alike", "repeated", "line_breaks",
)  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """Blocks in document order: ``first`` and ``end`` (runs), ``element`` (the innermost that begins lines),
    ``counts`` (n x ``COUNTS``, float64; the hash apart), ``hashes`` and ``features`` (n x ``FEATURES``, float32).
    """

    first: Integers
    end: Integers
    element: Integers
    counts: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    features: Floats


def blocks_of(page: FlatPage) -> Blocks:
    """Cut a page into its blocks. Blocks without a letter, digit or sign are none."""
    first, end, element, counts, hashes = _cut(
        page.source, page.tag, page.parent, page.kind, page.start, page.stop, page.owner, page.marks, BLOCK_LEVEL
    )
    features = _features(
        page.tag, page.parent, page.words, page.first, page.end, page.kind, first, end, element, counts, hashes,
        BLOCK_LEVEL, _CONTEXT, _PARAGRAPH, _UNNAMED, len(GROUPS), len(_CONTEXTS), len(FEATURES),
    )  # fmt: skip
    return Blocks(first, end, element, counts, hashes, features)


@kernel
def _block_above(e, tag, parent, block_level):  # type: ignore[no-untyped-def]
    while e >= 0 and not block_level[tag[e]]:
        e = parent[e]
    return e


@kernel
def _cut(source, tag, parent, kind, start, stop, owner, marks, block_level):  # type: ignore[no-untyped-def]
    runs = kind.size
    first, end = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    element = np.zeros(runs, np.int64)
    counts = np.zeros((runs, 9))
    hashes = np.zeros(runs, np.uint64)
    made = 0
    r = 0
    while r < runs:
        if kind[r] == 3:
            r += 1
            continue
        begin = r
        while r < runs and kind[r] != 3:
            r += 1
        counts[made, :] = 0.0
        value = np.uint64(0xCBF29CE484222325)
        inside = False  # a word
        last = 0
        seen = False
        held = -1
        for k in range(begin, r):
            if kind[k] != 0:
                inside = False
                continue
            linked = marks[k] & 1
            i, limit = start[k], stop[k]
            while i < limit:
                c = source[i]
                weight, mark, blank = 0.0, 0, False
                width = 1
                if c < 128:
                    if c == 38:  # a reference
                        while i + width < limit and source[i + width - 1] != 59:
                            width += 1
                        blank = source[i + 1] == 110  # &nbsp;
                        mark = 1
                    elif c <= 32:
                        blank = True
                    elif 97 <= c <= 122:
                        weight = 1.0
                    elif 65 <= c <= 90:
                        weight = 1.0
                        counts[made, 6] += 1
                    elif 48 <= c <= 57:
                        weight = 1.0
                        counts[made, 5] += 1
                    else:
                        mark = 1
                        if c == 46 or c == 33 or c == 63:
                            counts[made, 3] += 1
                            mark = 2
                        elif c == 44 or c == 59:
                            counts[made, 4] += 1
                else:
                    width = 2 if c < 224 else 3 if c < 240 else 4
                    second = source[i + 1] if i + 1 < limit else np.uint8(0)
                    third = source[i + 2] if i + 2 < limit else np.uint8(0)
                    if width == 3 and (228 <= c <= 233 or (c == 227 and second >= 129) or 234 <= c <= 237):
                        weight = 2.5
                        counts[made, 7] += 2.5
                    elif width == 3 and (c == 227 or c == 239 or c == 226):
                        mark = 1
                        if (c == 227 and second == 128 and third == 130) or (
                            c == 239 and second == 188 and (third == 129 or third == 159)
                        ):
                            counts[made, 3] += 1  # 。 ！ ？
                            mark = 2
                        elif (c == 239 and second == 188 and (third == 140 or third == 155)) or (
                            c == 227 and second == 128 and third == 129
                        ):
                            counts[made, 4] += 1  # ， ； 、
                        elif (c == 227 and second == 128 and third == 128) or (
                            c == 226 and second == 128 and third >= 139 and third <= 141
                        ):
                            blank, mark = True, 0
                        elif c == 226 and second == 128 and (third == 156 or third == 157 or third == 153):
                            mark = 3  # a closing quotation mark says nothing of a sentence's end
                        elif c == 227 and second == 128 and (third == 141 or third == 143):
                            mark = 3
                    elif c == 194 and second == 160:
                        blank = True
                    elif width == 4:
                        weight = 2.5
                        counts[made, 7] += 2.5
                    else:
                        weight = 1.0
                if blank:
                    inside = False
                else:
                    if weight > 0 or mark > 0:
                        seen = True
                    for j in range(i, min(i + width, limit)):
                        value = (value ^ np.uint64(source[j])) * np.uint64(0x100000001B3)
                    if not inside and weight > 0:
                        counts[made, 2] += 1
                        inside = True
                    if mark != 3:
                        last = mark
                    counts[made, 0] += weight
                    if linked:
                        counts[made, 1] += weight
                    if held < 0:
                        held = owner[k]
                i += width
        if seen:
            counts[made, 8] = 1.0 if last == 2 else 0.0
            first[made], end[made] = begin, r
            element[made] = _block_above(held, tag, parent, block_level)
            hashes[made] = value
            made += 1
    return first[:made], end[:made], element[:made], counts[:made], hashes[:made]


@kernel
def _features(  # type: ignore[no-untyped-def]
    tag, parent, words, run_first, run_end, kind, first, end, element, counts, hashes,
    block_level, context, paragraph, unnamed, groups, contexts, width,
):  # fmt: skip
    n, elements = first.size, tag.size
    out = np.zeros((n, width), np.float32)
    if n == 0:
        return out
    # what elements say, and what those around them say
    inherited, said, depth = np.zeros(elements, np.int64), np.zeros(elements, np.int64), np.zeros(elements, np.int64)
    for e in range(elements):
        up = parent[e]
        inherited[e] = context[tag[e]] | (inherited[up] if up >= 0 else 0)
        own = 0 if unnamed[tag[e]] else words[e]
        said[e] = own | (said[up] if up >= 0 else 0)
        depth[e] = depth[up] + 1 if up >= 0 else 0
    # sums over blocks, and the blocks of an element
    sums = np.zeros((n + 1, 4))
    for b in range(n):
        sums[b + 1, 0] = sums[b, 0] + counts[b, 0]
        sums[b + 1, 1] = sums[b, 1] + counts[b, 1]
        sums[b + 1, 2] = sums[b, 2] + counts[b, 3]
        sums[b + 1, 3] = sums[b, 3] + (counts[b, 0] - counts[b, 1] if counts[b, 8] > 0 or counts[b, 0] > 80 else 0.0)
    low, high = np.zeros(elements, np.int64), np.zeros(elements, np.int64)
    for e in range(elements):
        low[e] = np.searchsorted(first, run_first[e])
        high[e] = np.searchsorted(first, run_end[e])
    whole = sums[n, 0] + 1.0
    # the element that most paragraphs speak for (after Readability's idea)
    score = np.zeros(elements)
    for b in range(n):
        weight = counts[b, 0] - counts[b, 1]
        if weight < 40 or counts[b, 1] > 0.5 * counts[b, 0]:
            continue
        points = 1.0 + min(counts[b, 4], 6.0) + min(weight / 100.0, 3.0)
        e = element[b]
        if e >= 0 and paragraph[tag[e]]:
            e = _block_above(parent[e], tag, parent, block_level)
        share = points
        for level in range(4):
            if e < 0 or unnamed[tag[e]]:
                break
            score[e] += share
            share = points / 2.0 if level == 0 else points / (3.0 * (level + 1))
            e = _block_above(parent[e], tag, parent, block_level)
    top, best = 0, -1.0
    for e in range(elements):
        if score[e] > 0:
            weight = sums[high[e], 0] - sums[low[e], 0]
            density = (sums[high[e], 1] - sums[low[e], 1]) / (weight + 1.0)
            found = score[e] * (1.0 - density)
            if found > best:
                best, top = found, e
    # the innermost element that holds most of what is said in sentences
    most = 0
    for e in range(elements):
        if sums[n, 3] > 0 and sums[high[e], 3] - sums[low[e], 3] >= 0.6 * sums[n, 3]:
            most = e
    in_top = np.zeros(elements, np.uint8)
    e = top
    while e >= 0:
        in_top[e] = 1
        e = parent[e]
    top_share = (sums[high[top], 0] - sums[low[top], 0]) / whole
    order = np.argsort(hashes)
    repeated = np.zeros(n)
    for i in range(1, n):
        if hashes[order[i]] == hashes[order[i - 1]]:
            repeated[order[i]] = repeated[order[i - 1]] = 1.0
    heading = False
    for b in range(n):
        e = element[b]
        weight = counts[b, 0] + 1e-9
        f = 0
        out[b, f] = np.log1p(counts[b, 0])
        out[b, f + 1] = counts[b, 1] / weight
        out[b, f + 2] = np.log1p(counts[b, 2])
        out[b, f + 3] = counts[b, 3]
        out[b, f + 4] = counts[b, 4]
        out[b, f + 5] = counts[b, 5] / weight
        out[b, f + 6] = counts[b, 6] / weight
        out[b, f + 7] = counts[b, 7] / weight
        out[b, f + 8] = counts[b, 8]
        out[b, f + 9] = depth[e] if e >= 0 else 0
        out[b, f + 10] = b / n
        out[b, f + 11] = sums[b, 0] / whole
        out[b, f + 12] = np.log1p(n)
        out[b, f + 13] = np.log1p(whole)
        f = 14
        for step in (-2, -1, 1, 2):
            other = b + step
            if 0 <= other < n:
                out[b, f] = np.log1p(counts[other, 0])
                out[b, f + 1] = counts[other, 1] / (counts[other, 0] + 1e-9)
                out[b, f + 2] = 1.0 if element[other] >= 0 and e >= 0 and tag[element[other]] == tag[e] else 0.0
            else:
                out[b, f] = out[b, f + 1] = out[b, f + 2] = -1.0
            f += 3
        own = context[tag[e]] if e >= 0 else 0
        around = inherited[e] if e >= 0 else 0
        for i in range(contexts):
            out[b, f] = (own >> i) & 1
            out[b, f + contexts] = (around >> i) & 1
            f += 1
        f += contexts
        near = 0
        up = e
        for _ in range(3):
            if up >= 0 and not unnamed[tag[up]]:
                near |= words[up]
                up = parent[up]
        every = said[e] if e >= 0 else 0
        for i in range(groups):
            out[b, f] = (near >> i) & 1
            out[b, f + groups] = (every >> i) & 1
            f += 1
        f += groups
        up = e
        for _ in range(4):
            up = _block_above(parent[up], tag, parent, block_level) if up >= 0 else -1
            if up >= 0:
                held = sums[high[up], 0] - sums[low[up], 0]
                out[b, f] = held / whole
                out[b, f + 1] = (sums[high[up], 1] - sums[low[up], 1]) / (held + 1.0)
                out[b, f + 2] = 100.0 * (sums[high[up], 2] - sums[low[up], 2]) / (held + 1.0)
                out[b, f + 3] = np.log1p(held / max(high[up] - low[up], 1))
            else:
                out[b, f] = out[b, f + 1] = out[b, f + 2] = out[b, f + 3] = -1.0
            f += 4
        out[b, f] = 1.0 if low[top] <= b < high[top] else 0.0
        up, steps = e, 0
        while up >= 0 and not in_top[up]:
            up = parent[up]
        while up >= 0 and up != top and steps < 20:  # from the common ancestor down to the top
            steps = depth[top] - depth[up]
            break
        out[b, f + 1] = steps
        out[b, f + 2] = 1.0 if b >= high[top] else 0.0
        out[b, f + 3] = top_share
        out[b, f + 4] = 1.0 if low[most] <= b < high[most] else 0.0
        heading = heading or bool(own & 4)
        out[b, f + 5] = 1.0 if heading else 0.0
        alike = 0
        up = parent[e] if e >= 0 else -1
        for step in (-3, -2, -1, 1, 2, 3):
            other = b + step
            if 0 <= other < n and element[other] >= 0 and e >= 0 and parent[element[other]] == up:
                alike += tag[element[other]] == tag[e] and words[element[other]] == words[e]
        out[b, f + 6] = alike
        out[b, f + 7] = repeated[b]
        breaks = 0
        for k in range(first[b], end[b]):
            breaks += kind[k] == 1
        out[b, f + 8] = breaks
    return out
