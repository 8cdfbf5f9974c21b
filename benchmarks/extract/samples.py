"""Pages as the forests see them, and which of their blocks are content: read from gold text, or told in part."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.extract.pages import GoldPage, TestedPage, bare
from neo_assets.extract.page_blocks import WEIGHT, Blocks, blocks_of
from neo_assets.extract.page_lines import text_of
from neo_assets.web.flat_page import FlatPage, flat_page

FOLDS, SHINGLE, SHORT = 5, 8, 12
PAGE, OF_ONE_KIND = 100.0, 25.0
"""Weight of a page; of one of a documentation, which are many of one kind."""
SAID, DOUBTED, MIXED = 4.0, 0.4, 0.5
"""How much a block of a tested page counts: where a passage tells; where the one of two readers tells that is right in
all passages; where both tell, and neither is.
"""
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """``content``: which of its blocks (n) are; ``weights`` (n): how much each counts, 0 where nothing is known."""

    of: GoldPage | TestedPage
    page: FlatPage
    blocks: Blocks
    content: Flags
    weights: Floats
    fold: int


def with_gold(found: Iterable[GoldPage]) -> list[Sample]:
    """Pages with gold text: a block is content where the gold text holds it."""
    made = []
    for gold in found:
        page, blocks, texts = _read(gold.html)
        if texts:
            whole = OF_ONE_KIND if gold.set in ("handbook", "help") else PAGE
            fold = _fold(gold.site)
            made.append(Sample(gold, page, blocks, held_by(texts, gold.gold), whole * _shares(blocks), fold))
    return made


def unlabelled(found: Iterable[TestedPage], like: Sequence[Sample]) -> list[Sample]:
    """Tested pages, nothing known of their blocks yet; a site that ``like`` has is in the fold that it is in there."""
    folds = {sample.of.site.split(".")[0]: sample.fold for sample in like}
    made = []
    for of in found:
        page, blocks, texts = _read(of.html)
        if texts:
            fold = next((folds[label] for label in of.site.split(".") if label in folds), _fold(of.site))
            nothing = np.zeros(len(texts))
            made.append(Sample(of, page, blocks, nothing > 0, nothing, fold))
    return made


def labelled(sample: Sample, likely: Floats, other: str) -> Sample:
    """A tested page with the labels that two readers give it: forests (``likely``), and another extractor's text.

    Where a passage tells, it is believed. Elsewhere a block's label is what both readers say, where they are right in
    all passages; what the one says that is; and less what they both say where none is.
    """
    of = sample.of
    assert isinstance(of, TestedPage)
    texts = block_texts(sample.page, sample.blocks)
    ours, theirs = likely > 0.5, held_by(texts, other)
    wanted = len(of.has), 0
    we, they = of.passed(text_of(sample.page, sample.blocks, ours)) == wanted, of.passed(other) == wanted
    agree = ours == theirs
    content = ours if we and not they else theirs
    known = np.where(agree, 1.0 if we or they else MIXED * np.abs(2 * likely - 1), 0.0)
    if we != they:
        known[~agree] = DOUBTED if they else DOUBTED * np.abs(2 * likely - 1)[~agree]
    title, has, lacks = bare(of.title), [bare(said) for said in of.has], [bare(said) for said in of.lacks]
    places = {said: sum(said in text for text in texts) for said in has}
    for b, text in enumerate(texts):
        in_, out = any(said in text for said in has), any(said in text for said in lacks)
        if title and text == title:
            content[b], known[b] = True, 1.0
        elif out and not in_:
            content[b], known[b] = False, SAID
        elif not out and any(said in text and places[said] == 1 for said in has):
            content[b], known[b] = True, SAID
    return replace(sample, content=content, weights=PAGE * known * _shares(sample.blocks))


def held_by(texts: Sequence[str], gold: str) -> Flags:
    """Which of these block texts (bare) a text holds: a short one as a line, of a longer one more than half."""
    whole, lines = bare(gold), {bare(line) for line in gold.split("\n")}
    shingles = {whole[i : i + SHINGLE] for i in range(len(whole) - SHINGLE + 1)}
    held = np.zeros(len(texts), np.bool_)
    for b, text in enumerate(texts):
        cut = [text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)]
        held[b] = text in lines if len(text) < SHORT else sum(s in shingles for s in cut) > 0.5 * len(cut)
    return held


def block_texts(page: FlatPage, blocks: Blocks) -> list[str]:
    """The bare text of each block."""
    n = len(blocks.first)
    return [bare(text_of(page, blocks, np.arange(n) == b)) for b in range(n)]


def _read(html: str) -> tuple[FlatPage, Blocks, list[str]]:
    page = flat_page(html)
    blocks = blocks_of(page)
    return page, blocks, block_texts(page, blocks)


def _shares(blocks: Blocks) -> Floats:
    """How much each block is of its page; long ones are more."""
    weight = np.sqrt(blocks.counts[:, WEIGHT]) + 1
    return np.asarray(weight / weight.sum())


def _fold(site: str) -> int:
    return zlib.crc32(site.encode()) % FOLDS
