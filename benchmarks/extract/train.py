"""Fits the forests of ``main_content.py``: ``python -m benchmarks.extract.train COPIES`` writes ``main_content.npz``.

A block is content where the gold text holds it. The second forest is fitted on what forests of the first kind say of
sites they have not seen (five folds by site), since that is what it will read.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.extract.pages import GoldPage, documentation, pages
from neo_assets.crawl.commands import demo_folder
from neo_assets.extract.block_features import FEATURES, Floats, features_of
from neo_assets.extract.main_content import CONTEXTS, FORESTS, with_context
from neo_assets.extract.page_blocks import WEIGHT, Blocks, blocks_of
from neo_assets.extract.page_lines import text_of
from neo_assets.web.flat_page import FlatPage, flat_page

FOLDS, SHINGLE, SHORT = 5, 8, 12
OF_ONE_KIND = 25.0
"""Weight of a page of the documentations; others have 100."""
SHARED: dict[str, Any] = {"max_iter": 100, "random_state": 0}
FIRST = SHARED | {"learning_rate": 0.1, "max_leaf_nodes": 24, "min_samples_leaf": 20, "l2_regularization": 1.0}
FIRST |= {"max_features": 0.3}
SECOND = SHARED | {"learning_rate": 0.08, "max_leaf_nodes": 16, "min_samples_leaf": 30, "l2_regularization": 2.0}
SECOND |= {"max_features": 0.4}
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A page as the forests see it, and which of its blocks (n) the gold text holds."""

    gold: GoldPage
    page: FlatPage
    blocks: Blocks
    content: NDArray[np.bool_]
    fold: int

    @property
    def weights(self) -> Probabilities:
        """Long blocks count more; pages alike, but for those of one documentation, which are many of one kind."""
        weight = np.sqrt(self.blocks.counts[:, WEIGHT]) + 1
        return np.asarray((OF_ONE_KIND if self.gold.set in ("handbook", "help") else 100.0) * weight / weight.sum())


def sample(gold: GoldPage) -> Sample:
    page = flat_page(gold.html)
    blocks = blocks_of(page)
    whole, lines = _bare(gold.gold), {_bare(line) for line in gold.gold.split("\n")}
    shingles = {whole[i : i + SHINGLE] for i in range(len(whole) - SHINGLE + 1)}
    content = np.zeros(len(blocks.first), np.bool_)
    for b in range(len(content)):
        alone = np.zeros(len(content), np.bool_)
        alone[b] = True
        text = _bare(text_of(page, blocks, alone))
        cut = [text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)]
        content[b] = text in lines if len(text) < SHORT else sum(s in shingles for s in cut) > 0.5 * len(cut)
    return Sample(gold, page, blocks, content, zlib.crc32(gold.site.encode()) % FOLDS)


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


def fitted(samples: Sequence[Sample], given: Sequence[Floats], how: dict[str, Any]) -> Any:
    model = HistGradientBoostingClassifier(**how)
    weights = np.concatenate([s.weights for s in samples])
    return model.fit(np.concatenate(given), np.concatenate([s.content for s in samples]), sample_weight=weights)


def of_unseen_sites(samples: Sequence[Sample], given: Sequence[Floats], how: dict[str, Any]) -> list[Probabilities]:
    """What forests say of pages whose sites they were not fitted on."""
    said: list[Probabilities] = [np.zeros(0)] * len(samples)
    for fold in range(FOLDS):
        seen = [i for i, s in enumerate(samples) if s.fold != fold]
        model = fitted([samples[i] for i in seen], [given[i] for i in seen], how)
        for i, s in enumerate(samples):
            if s.fold == fold:
                said[i] = model.predict_proba(given[i])[:, 1]
    return said


def features(samples: Sequence[Sample]) -> tuple[list[Floats], list[Floats]]:
    """Features of both forests; those of the second hold what the first says of sites it has not seen."""
    alone = [features_of(s.page, s.blocks) for s in samples]
    judged = of_unseen_sites(samples, alone, FIRST)
    return alone, [with_context(s.page, s.blocks, x, p) for s, x, p in zip(samples, alone, judged, strict=True)]


def arrays(model: Any, name: str) -> dict[str, NDArray[Any]]:
    """A fitted model as the arrays of a ``Forest``."""
    nodes = [tree.nodes for (tree,) in model._predictors]  # scikit-learn has no other way to them
    sizes = [len(n) for n in nodes]
    roots = np.cumsum([0, *sizes[:-1]])

    def joined(column: str, kind: type) -> NDArray[Any]:
        return np.concatenate([n[column] for n in nodes]).astype(kind)

    leaf = joined("is_leaf", np.bool_)
    moved = np.repeat(roots, sizes)
    sides = {side: np.where(leaf, 0, joined(side, np.int64) + moved).astype(np.int32) for side in ("left", "right")}
    found = {"feature": joined("feature_idx", np.int16), "threshold": joined("num_threshold", np.float32), **sides}
    found |= {"value": joined("value", np.float32), "roots": roots.astype(np.int32)}
    found |= {"base": np.array(float(model._baseline_prediction.ravel()[0]))}
    return {f"{name}_{key}": value for key, value in found.items()}


def samples_of(found: Iterable[GoldPage]) -> list[Sample]:
    return [s for s in map(sample, found) if len(s.content)]


def main(copies: Path) -> None:
    samples = samples_of([*pages(copies), *documentation(demo_folder())])
    one, two = features(samples)
    first, second = fitted(samples, one, FIRST), fitted(samples, two, SECOND)
    counted = {"features": np.array(FEATURES), "contexts": np.array(CONTEXTS)}
    np.savez_compressed(FORESTS, **arrays(first, "first"), **arrays(second, "second"), **counted)
    print(f"{FORESTS}: {FORESTS.stat().st_size:,} bytes, from {len(samples)} pages")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
