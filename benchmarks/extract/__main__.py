"""Extractors side by side: ``python -m benchmarks.extract COPIES``. trafilatura is compared where it is installed."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.extract.measure import f1, precision_recall
from benchmarks.extract.pages import documentation, held_back, pages
from benchmarks.extract.train import SECOND, features, of_unseen_sites, samples_of
from neo_assets.core.recipe import load
from neo_assets.crawl.commands import demo_folder
from neo_assets.extract.extractors import EXTRACTORS
from neo_assets.extract.page_lines import text_of

Scores = dict[str, list[tuple[float, float]]]


def main(copies: Path) -> None:
    samples = samples_of([*pages(copies), *documentation(demo_folder())])
    golds = [*(s.gold for s in samples), *held_back(copies)]
    config = load("laptop").extract
    rows: dict[str, tuple[Scores, float]] = {}
    for name, extract in EXTRACTORS.items():
        scores: Scores = defaultdict(list)
        seconds = 0.0
        try:
            extract(config, golds[0].html)
        except ImportError:
            print(f"NOT COMPARED: {name} is not installed")
            continue
        for gold in golds:
            began = time.process_time()
            text = extract(config, gold.html).text
            seconds += time.process_time() - began
            scores[gold.set].append(precision_recall(text, gold.gold))
        fitted = ", sites it was fitted on (but for what is held back)" if name == "blocks" else ""
        rows[name + fitted] = scores, 1000 * seconds / len(golds)
    unseen: Scores = defaultdict(list)
    for s, p in zip(samples, of_unseen_sites(samples, features(samples)[1], SECOND), strict=True):
        text = text_of(s.page, s.blocks, p > config.keep_above)
        unseen[s.gold.set].append(precision_recall(text, s.gold.gold))
    rows["blocks, sites it has not seen"] = unseen, float("nan")
    for name, (scores, each) in rows.items():
        print(f"\n{name}: {each:.2f} ms of processor a page, this machine")
        for of, pairs in scores.items():
            precision, recall, both_ = f1(pairs)
            told = f"P {precision:.3f}  R {recall:.3f}  F1 {both_:.3f}"
            print(f"  {of:<15} {len(pairs):4} pages  {told}  nothing right {sum(p == (0.0, 0.0) for p in pairs)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
