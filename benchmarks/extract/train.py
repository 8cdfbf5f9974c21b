"""Fits the forests of ``main_content.py``: ``python -m benchmarks.extract.train COPIES`` writes ``main_content.npz``.
Needs the extra ``[bench]``.

The second forest is fitted on what forests of the first kind say of sites they have not seen (five folds by site),
since that is what it will read. Pages of which only some passages are told get their labels from forests fitted on gold
text of other sites, from trafilatura, and from the passages, which decide whom to believe (``samples.labelled``). Of
the figures for sites not seen that is the one way in which a page's own gold text can reach what judges it: by labels
of other sites' pages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from benchmarks.extract.pages import documentation, pages, tested
from benchmarks.extract.samples import FOLDS, Floats, Sample, labelled, unlabelled, with_gold
from neo_assets.core.recipe import load
from neo_assets.crawl.commands import demo_folder
from neo_assets.extract.block_features import FEATURES, features_of
from neo_assets.extract.extractors import by_trafilatura
from neo_assets.extract.main_content import CONTEXTS, FORESTS, likely, with_context, without_navigation

SEEDS = 2
"""Forests fitted alike, of which the mean is taken."""
SHARED: dict[str, Any] = {"n_estimators": 100, "verbose": -1, "deterministic": True, "force_row_wise": True}
FIRST = SHARED | {"learning_rate": 0.1, "num_leaves": 32, "max_depth": 6, "min_child_samples": 20, "reg_lambda": 1.0}
FIRST |= {"colsample_bytree": 0.3}
SECOND = SHARED | {"learning_rate": 0.08, "num_leaves": 24, "max_depth": 5, "min_child_samples": 30, "reg_lambda": 2.0}
SECOND |= {"colsample_bytree": 0.4}
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Learnt:
    """Samples, their features for both forests, and the log-odds that forests which have not seen their sites give."""

    samples: list[Sample]
    alone: list[Rows]
    in_context: list[Rows]
    unseen: list[Floats]


def learnt(copies: Path) -> Learnt:
    gold = with_gold([*pages(copies), *documentation(demo_folder())])
    told = unlabelled(tested(copies), gold)
    before = judged([*gold, *told])
    texts = (by_trafilatura(load("laptop").extract, s.of.html, None).text for s in told)
    said = zip(told, before.unseen[len(gold) :], texts, strict=True)
    return judged([*gold, *(labelled(s, likely(odds), text) for s, odds, text in said)])


def judged(samples: list[Sample]) -> Learnt:
    """Both forests on samples, each fitted on what is known of other folds."""
    alone = [features_of(s.page, s.blocks) for s in samples]
    first = of_unseen_sites(samples, alone, FIRST)
    both = zip(samples, alone, first, strict=True)
    in_context = [with_context(s.page, s.blocks, x, likely(odds)) for s, x, odds in both]
    second = of_unseen_sites(samples, in_context, SECOND)
    unseen = [without_navigation(x, odds) for x, odds in zip(alone, second, strict=True)]
    return Learnt(samples, alone, in_context, unseen)


def fitted(samples: Sequence[Sample], given: Sequence[Rows], how: dict[str, Any]) -> list[lightgbm.Booster]:
    rows, content = np.concatenate(given), np.concatenate([s.content for s in samples])
    weights = np.concatenate([s.weights for s in samples])
    known = weights > 0
    models = (lightgbm.LGBMClassifier(**how, random_state=seed) for seed in range(SEEDS))
    return [m.fit(rows[known], content[known], sample_weight=weights[known]).booster_ for m in models]


def of_unseen_sites(samples: Sequence[Sample], given: Sequence[Rows], how: dict[str, Any]) -> list[Floats]:
    """Log-odds that forests give to pages whose sites they were not fitted on."""
    said: list[Floats] = [np.zeros(0)] * len(samples)
    for fold in range(FOLDS):
        seen = [i for i, s in enumerate(samples) if s.fold != fold]
        models = fitted([samples[i] for i in seen], [given[i] for i in seen], how)
        for i, s in enumerate(samples):
            if s.fold == fold:
                said[i] = np.mean([np.asarray(m.predict(given[i], raw_score=True)) for m in models], axis=0)
    return said


def arrays(models: Sequence[lightgbm.Booster], name: str) -> dict[str, NDArray[Any]]:
    """Fitted forests as the arrays of one ``Forest``: the mean of them."""
    trees = [tree["tree_structure"] for model in models for tree in model.dump_model()["tree_info"]]
    nodes: list[tuple[int, Any, float]] = []  # feature, threshold, value
    children: list[int] = []

    def walk(node: dict[str, Any]) -> int:
        """Write a node and those below it down; how deep it goes from here."""
        at = len(nodes)
        children.extend((at, at))
        if "left_child" not in node:
            nodes.append((0, np.float32(np.inf), node["leaf_value"] / len(models)))
            return 0
        threshold = np.float32(node["threshold"])
        if float(threshold) > node["threshold"]:  # features are float32: the greatest that goes left
            threshold = np.nextafter(threshold, np.float32(-np.inf))
        nodes.append((node["split_feature"], threshold, 0.0))
        depth = 0
        for i, side in enumerate(("left_child", "right_child")):
            children[2 * at + i] = len(nodes)
            depth = max(depth, 1 + walk(node[side]))
        return depth

    roots, depth = zip(*((len(nodes), walk(tree)) for tree in trees), strict=True)
    feature, threshold, value = zip(*nodes, strict=True)
    found = {"feature": np.array(feature, np.int16), "threshold": np.array(threshold, np.float32)}
    found |= {"children": np.array(children, np.int32), "value": np.array(value, np.float32)}
    found |= {"roots": np.array(roots, np.int32), "depth": np.array(depth, np.int32)}
    return {f"{name}_{key}": column for key, column in found.items()}


def main(copies: Path) -> None:
    found = learnt(copies)
    first, second = fitted(found.samples, found.alone, FIRST), fitted(found.samples, found.in_context, SECOND)
    counted = {"features": np.array(FEATURES), "contexts": np.array(CONTEXTS)}
    np.savez_compressed(FORESTS, **arrays(first, "first"), **arrays(second, "second"), **counted)
    print(f"{FORESTS}: {FORESTS.stat().st_size:,} bytes, from {len(found.samples)} pages")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
