"""Extractors side by side: ``python -m benchmarks.extract COPIES``. trafilatura is compared where it is installed."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.extract.measure import f1, precision_recall
from benchmarks.extract.pages import documentation, pages
from benchmarks.extract.train import both, samples_of
from neo_assets.core.recipe import load
from neo_assets.crawl.commands import demo_folder
from neo_assets.extract.extractors import EXTRACTORS
from neo_assets.extract.page_lines import text_of

Scores = dict[str, list[tuple[float, float]]]


def main(copies: Path) -> None:
    samples = samples_of([*pages(copies), *documentation(demo_folder())])
    config = load("laptop").extract
    rows: dict[str, tuple[Scores, float]] = {}
    for name, extract in EXTRACTORS.items():
        scores: Scores = defaultdict(list)
        seconds = 0.0
        try:
            extract(config, samples[0].gold.html)
        except ImportError:
            print(f"NOT COMPARED: {name} is not installed")
            continue
        for s in samples:
            began = time.process_time()
            text = extract(config, s.gold.html).text
            seconds += time.process_time() - began
            scores[s.gold.set].append(precision_recall(text, s.gold.gold))
        rows[name + (", sites it was fitted on" if name == "blocks" else "")] = scores, 1000 * seconds / len(samples)
    unseen: Scores = defaultdict(list)
    for s, p in zip(samples, both(samples)[2], strict=True):
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
