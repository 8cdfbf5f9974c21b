"""Which blocks of a page are its main content.

Two small forests of decision trees, trained by ``benchmarks/extract`` on pages with hand-made annotations: the first
judges each block by itself, where it stands and what its surroundings are called; the second judges it again, knowing
what the first says of its neighbours and of everything around it. A block is taken or left as a whole, and what is
taken gives all its text, which is counted (:class:`MainText`). Where a site's other pages are known they have a say
(``site_habits.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neo_assets.core.compiled import kernel
from neo_assets.core.errors import NeoError
from neo_assets.extract.block_features import FEATURES, Floats, features_of
from neo_assets.extract.page_blocks import WEIGHT, Blocks, blocks_of
from neo_assets.extract.page_lines import characters, text_of
from neo_assets.web.flat_page import FlatPage, flat_page

FORESTS = Path(__file__).with_name("main_content.npz")
CONTEXTS = 31
"""Numbers that the second forest has of a block besides the first one's."""


@dataclass(frozen=True)
class Forest:
    """Decision trees, node by node: go to ``children[2 * node]`` where ``feature <= threshold``, else to the one after.

    A leaf is its own child: after ``depth`` steps from the root of a tree its leaf is reached. The sum of the leaves'
    ``value`` is the log-odds. Several forests fitted alike are one, with each leaf divided by their number.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    children: NDArray[np.int32]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]
    depth: NDArray[np.int32]

    def log_odds(self, features: Floats) -> NDArray[np.float64]:
        """Log-odds (n) of feature rows (n x features)."""
        return _judge(  # type: ignore[no-any-return]
            features, self.feature, self.threshold, self.children, self.value, self.roots, self.depth
        )

    def judge(self, features: Floats) -> NDArray[np.float64]:
        """Probabilities (n) of feature rows (n x features)."""
        return likely(self.log_odds(features))


@functools.cache
def forests() -> tuple[Forest, Forest]:
    """Both forests. Raises NeoError where they were fitted on other features than are counted now."""
    with np.load(FORESTS, allow_pickle=False) as kept:
        one, two = ({name: kept[f"{n}_{name}"] for name in Forest.__annotations__} for n in ("first", "second"))
        fitted_on = (*kept["features"].tolist(), int(kept["contexts"]))
    if fitted_on != (*FEATURES, CONTEXTS):
        raise NeoError(f"{FORESTS.name} was fitted on other features: run python -m benchmarks.extract.train")
    return Forest(**one), Forest(**two)


@dataclass(frozen=True)
class MainText:
    """The title and the main content of a page. ``kept`` and ``seen`` count characters that are no white space: those
    of the chosen blocks and those of all that a reader sees, both counted from the page.
    """

    title: str
    text: str
    kept: int
    seen: int

    @property
    def written(self) -> int:
        """Characters of the text that are no white space; as many as were ``kept``, or one was lost or made up."""
        return len("".join(self.text.split()))


LogOdds = NDArray[np.float64]
Second = Callable[[FlatPage, Blocks, LogOdds], LogOdds]
"""A second opinion: a page, its blocks and their log-odds to other log-odds."""
NEVER = -100.0
"""Log-odds of navigation, whatever else speaks for it: a site's pages agree on their menus as on their texts."""
_IN_NAVIGATION = FEATURES.index("in_nav")


@dataclass(frozen=True)
class Bounds:
    """A block is kept whose probability is ``above``. Where no block of a page is, those are kept that are half as
    likely as its likeliest, if that is above ``best_above``: of an article that is doubted as a whole, what is doubted
    least.
    """

    above: float
    best_above: float

    def kept(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which blocks (n) of a page are kept."""
        best = probabilities.max(initial=0.0)
        return probabilities > (best / 2 if self.best_above < best <= self.above else self.above)


def main_text(html: str, bounds: Bounds, second: Second | None = None) -> MainText:
    """The main text of a page: the blocks that are content, as far as they are within bounds."""
    page = flat_page(html)
    blocks = blocks_of(page)
    found = log_odds(page, blocks)
    chosen = bounds.kept(likely(second(page, blocks, found) if second is not None else found))
    return MainText(
        page.title, text_of(page, blocks, chosen), characters(page, blocks, chosen), characters(page, blocks)
    )


def log_odds(page: FlatPage, blocks: Blocks) -> LogOdds:
    """Log-odds (n) that each block is main content, by the page alone."""
    if not len(blocks.first):
        return np.zeros(0)
    first, second = forests()
    alone = features_of(page, blocks)
    return without_navigation(alone, second.log_odds(with_context(page, blocks, alone, first.judge(alone))))


def without_navigation(alone: Floats, log_odds: LogOdds) -> LogOdds:
    """Log-odds (n), but nothing in a ``<nav>`` is content. Of 8,635 such blocks of the annotated pages 118 are called
    so, most of them menu entries that a line of the text happens to say too.
    """
    return np.where(alone[:, _IN_NAVIGATION] > 0, NEVER, log_odds)


def likely(log_odds: LogOdds) -> NDArray[np.float64]:
    """Log-odds as probabilities."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def with_context(page: FlatPage, blocks: Blocks, alone: Floats, judged: NDArray[np.float64]) -> Floats:
    """Features of the second forest: those of the first, and what it said of each block and of its surroundings."""
    weight = blocks.counts[:, WEIGHT] + 0.5
    return np.hstack([alone, _context(weight, judged, blocks.low, blocks.high, page.parent, blocks.element, CONTEXTS)])


@kernel
def _judge(features, feature, threshold, children, value, roots, depth):  # type: ignore[no-untyped-def]
    """Tree by tree, since one fits into the nearest cache, and four rows at a time without a branch to guess."""
    n = features.shape[0]
    out = np.zeros(n)
    for tree in range(roots.size):
        root = roots[tree]
        row = 0
        while row + 4 <= n:
            a = b = c = d = root
            for _ in range(depth[tree]):
                a = children[2 * a + np.int64(features[row, feature[a]] > threshold[a])]
                b = children[2 * b + np.int64(features[row + 1, feature[b]] > threshold[b])]
                c = children[2 * c + np.int64(features[row + 2, feature[c]] > threshold[c])]
                d = children[2 * d + np.int64(features[row + 3, feature[d]] > threshold[d])]
            out[row] += value[a]
            out[row + 1] += value[b]
            out[row + 2] += value[c]
            out[row + 3] += value[d]
            row += 4
        while row < n:
            a = root
            for _ in range(depth[tree]):
                a = children[2 * a + np.int64(features[row, feature[a]] > threshold[a])]
            out[row] += value[a]
            row += 1
    return out


@kernel
def _context(weight, p, low, high, parent, element, width):  # type: ignore[no-untyped-def]
    n = p.size
    out = np.full((n, width), -1.0, np.float32)
    summed, weighed, gained = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    begins, ends = n, -1
    highest = 0.0
    for b in range(n):
        summed[b + 1] = summed[b] + weight[b] * p[b]
        weighed[b + 1] = weighed[b] + weight[b]
        gained[b + 1] = gained[b] + weight[b] ** 0.7 * (p[b] - 0.4)
        highest = max(highest, p[b])
        if p[b] > 0.7 and weight[b] > 30.5:
            begins, ends = min(begins, b), b
    best, top = -1e18, 0  # the innermost element that gathers most
    for e in range(low.size):
        found = gained[high[e]] - gained[low[e]]
        if found >= best - 1e-9:
            best, top = max(found, best), e
    whole = max(summed[n], 1e-9)
    for b in range(n):
        out[b, 0] = p[b]
        column = 1
        for step in range(-4, 5):
            if step:
                if 0 <= b + step < n:
                    out[b, column] = p[b + step]
                column += 1
        column += 4
        e = element[b]
        for _ in range(5):
            if e >= 0:
                held = weighed[high[e]] - weighed[low[e]]
                mine = summed[high[e]] - summed[low[e]]
                out[b, column], out[b, column + 1] = mine / max(held, 1e-9), mine / whole
                e = parent[e]
            column += 2
        inside = low[top] <= b < high[top]
        out[b, column] = 1.0 if inside else 0.0
        out[b, column + 1] = (b - low[top]) / max(high[top] - low[top], 1)
        out[b, column + 2] = summed[n] / weighed[n]
        out[b, column + 3] = highest
        out[b, column + 4] = 1.0 if b < begins else 0.0
        out[b, column + 5] = 1.0 if b > ends else 0.0
        out[b, column + 6] = np.log1p(weight[b])
        out[b, column + 7] = begins / n
    column = 9
    for far in (60.0, 300.0):  # what was said before and after, nearer blocks more
        for way in (1, -1):
            said, held = 0.0, 0.0
            for i in range(n):
                b = i if way > 0 else n - 1 - i
                if held > 0:
                    out[b, column] = said / held
                fades = np.exp(-weight[b] / far)
                said = said * fades + weight[b] * p[b]
                held = held * fades + weight[b]
            column += 1
    return out
