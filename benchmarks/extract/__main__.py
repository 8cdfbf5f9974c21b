"""Extractors side by side: ``python -m benchmarks.extract COPIES``. Needs the extra ``[bench]``."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.extract.measure import f1, precision_recall
from benchmarks.extract.pages import GoldPage, TestedPage, documentation, held_back, pages, tested
from benchmarks.extract.samples import Floats, Sample
from benchmarks.extract.train import learnt
from neo_assets.core.recipe import load
from neo_assets.core.recipe.data import Extract
from neo_assets.crawl.commands import demo_folder
from neo_assets.extract.extractors import EXTRACTORS, bounds_of
from neo_assets.extract.main_content import likely
from neo_assets.extract.page_lines import text_of
from neo_assets.extract.site_habits import Habit, as_the_site, habit_of, joined, places_of


class Scores:
    """What a reader made of pages: (precision, recall) of those with gold text, passages of the others."""

    def __init__(self) -> None:
        self._pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._passages = np.zeros(5)  # rightly there, of so many, wrongly there, pages with all of them right, pages

    def add(self, of: GoldPage | TestedPage, text: str) -> None:
        if isinstance(of, GoldPage):
            self._pairs[of.set].append(precision_recall(text, of.gold))
        else:
            there, wrong = of.passed(text)
            self._passages += (there, len(of.has), wrong, there == len(of.has) and not wrong, 1)

    def tell(self) -> None:
        for of, pairs in self._pairs.items():
            precision, recall, both = f1(pairs)
            told = f"P {precision:.3f}  R {recall:.3f}  F1 {both:.3f}"
            print(f"  {of:<15} {len(pairs):4} pages  {told}  nothing right {sum(p == (0.0, 0.0) for p in pairs)}")
        there, has, wrong, right, count = self._passages
        if has:
            precision, recall = there / (there + wrong), there / has
            told = f"P {precision:.3f}  R {recall:.3f}  F1 {2 * precision * recall / (precision + recall):.3f}"
            print(f"  {'passages':<15} {count:4.0f} pages  {told}  all right on {right / count:.3f}")


def main(copies: Path) -> None:
    config = load("laptop").extract
    golds = [*pages(copies), *documentation(demo_folder()), *held_back(copies), *tested(copies)]
    for name, extract in EXTRACTORS.items():
        scores, seconds = Scores(), 0.0
        extract(config, golds[0].html, None)  # imports and compiles
        for gold in golds:
            began = time.process_time()
            text = extract(config, gold.html, None).text
            seconds += time.process_time() - began
            scores.add(gold, text)
        fitted = ", sites it was fitted on (but for what is held back), each page alone" if name == "blocks" else ""
        print(f"\n{name}{fitted}: {1000 * seconds / len(golds):.2f} ms of processor a page, this machine")
        scores.tell()
    found = learnt(copies)
    for name, unseen in (
        ("each page alone", found.unseen),
        ("with its site", _by_site(found.samples, found.unseen, config)),
    ):
        scores = Scores()
        for s, odds in zip(found.samples, unseen, strict=True):
            scores.add(s.of, text_of(s.page, s.blocks, bounds_of(config).kept(likely(odds))))
        print(f"\nblocks, sites it has not seen, {name}")
        scores.tell()


def _by_site(samples: Sequence[Sample], unseen: Sequence[Floats], config: Extract) -> list[Floats]:
    """What a page's site makes of its log-odds, where the site has enough pages here."""
    places = [places_of(s.page, s.blocks) for s in samples]
    habits: dict[str, list[Habit]] = defaultdict(list)
    for s, where, odds in zip(samples, places, unseen, strict=True):
        habits[s.of.site].append(habit_of(where, odds))
    known = {site: joined(held) for site, held in habits.items() if len(held) >= config.site.at_least}
    return [
        as_the_site(where, odds, known[s.of.site], True, config.site) if s.of.site in known else odds
        for s, where, odds in zip(samples, places, unseen, strict=True)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
