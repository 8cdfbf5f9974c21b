"""Which blocks of a page are its main content.

Two small forests of decision trees, trained by ``benchmarks/extract`` on pages with hand-made annotations: the first
judges each block by itself, where it stands and what its surroundings are called; the second judges it again, knowing
what the first says of its neighbours and of everything around it. A block is taken or left as a whole, and what is
taken gives all its text, which is counted (:class:`MainText`).
"""

from __future__ import annotations

import functools
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
    """Decision trees, node by node: go left where ``feature <= threshold``; a leaf (``left`` 0) has a ``value``.

    ``roots`` are the first nodes of the trees; the sum of their leaves and ``base`` is the log-odds.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]
    base: float

    def judge(self, features: Floats) -> NDArray[np.float64]:
        """Probabilities (n) of feature rows (n x features)."""
        return _judge(  # type: ignore[no-any-return]
            features, self.feature, self.threshold, self.left, self.right, self.value, self.roots, self.base
        )


@functools.cache
def forests() -> tuple[Forest, Forest]:
    """Both forests. Raises NeoError where they were fitted on other features than are counted now."""
    with np.load(FORESTS, allow_pickle=False) as kept:
        one, two = ({name: kept[f"{n}_{name}"] for name in Forest.__annotations__} for n in ("first", "second"))
        fitted_on = (*kept["features"].tolist(), int(kept["contexts"]))
    if fitted_on != (*FEATURES, CONTEXTS):
        raise NeoError(f"{FORESTS.name} was fitted on other features: run python -m benchmarks.extract.train")
    return Forest(**one | {"base": float(one["base"])}), Forest(**two | {"base": float(two["base"])})


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


def main_text(html: str, keep_above: float) -> MainText:
    """The main text of a page: blocks that are content with a probability above ``keep_above``."""
    page = flat_page(html)
    blocks = blocks_of(page)
    chosen = probabilities(page, blocks) > keep_above
    return MainText(
        page.title, text_of(page, blocks, chosen), characters(page, blocks, chosen), characters(page, blocks)
    )


def probabilities(page: FlatPage, blocks: Blocks) -> NDArray[np.float64]:
    """How likely each block is main content."""
    if not len(blocks.first):
        return np.zeros(0)
    first, second = forests()
    alone = features_of(page, blocks)
    return second.judge(with_context(page, blocks, alone, first.judge(alone)))


def with_context(page: FlatPage, blocks: Blocks, alone: Floats, judged: NDArray[np.float64]) -> Floats:
    """Features of the second forest: those of the first, and what it said of each block and of its surroundings."""
    weight = blocks.counts[:, WEIGHT] + 0.5
    return np.hstack([alone, _context(weight, judged, blocks.low, blocks.high, page.parent, blocks.element, CONTEXTS)])


@kernel
def _judge(features, feature, threshold, left, right, value, roots, base):  # type: ignore[no-untyped-def]
    out = np.zeros(features.shape[0])
    for row in range(features.shape[0]):
        total = base
        for root in roots:
            node = root
            while left[node]:
                node = left[node] if features[row, feature[node]] <= threshold[node] else right[node]
            total += value[node]
        out[row] = 1.0 / (1.0 + np.exp(-total))
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
