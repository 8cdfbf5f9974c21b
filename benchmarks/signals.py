"""Rule signals against datatrove's: speed on the same tokens and as shipped, and whether both decide alike.

``same tokens``: datatrove's Gopher blocks get our tokens ready-made, so its word segmentation costs nothing, and no
early exit, since ours measures everything too. ``as shipped``: the blocks as anybody would run them. Decisions are
compared on identical tokens, once with datatrove's rule as it is and once with ours in its place where they differ: to
datatrove an n-gram that occurs once is the most frequent one, and a short page is dropped for it; the released code of
the paper, and ours, count repetitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.filters import gopher_quality_filter, gopher_repetition_filter

from benchmarks.common import best, megabytes, once, row, texts
from neo_assets.clean.measure import lists, measure
from tests.clean.reference import folded, tokens

STOP = ["the", "be", "to", "of", "and", "that", "have", "with"]
SHIPPED = 300
"""Documents for the blocks as shipped: they take seconds a hundred."""


def main() -> None:
    for lang, code in (("en", "eng"), ("zh", "cmn")):
        compare(lang, code)


def words_of(text: str) -> list[str]:
    """Our tokens as strings, by their definition."""
    plain = folded(text)
    return [plain[a:b] for a, b in tokens(text)]


def compare(lang: str, code: str) -> None:
    some = texts(lang)
    array, known = pa.array(some, pa.string()), lists(STOP, [])
    ready = [words_of(t) for t in some]
    mb = megabytes(some)
    print(f"{lang}: {len(some):,} pages, {mb:.1f} MB")
    ours, signals = best(lambda: measure(array, lang, known))
    waiting: list[list[str]] = []
    for module in (gopher_repetition_filter, gopher_quality_filter):
        module.split_into_words = lambda *_: waiting.pop()
    never = 9.0
    repetition = gopher_repetition_filter.GopherRepetitionFilter(
        never,
        never,
        never,
        never,
        tuple((n, never) for n in (2, 3, 4)),
        tuple((n, never) for n in range(5, 11)),
        language=code,
    )
    quality = gopher_quality_filter.GopherQualityFilter(
        0, 0, 0, 0, never, never, never, 0, 0, stop_words=STOP, language=code
    )

    def statistics() -> None:
        for text, words in zip(some, ready, strict=True):
            document = Document(text=text, id="")
            for block in (repetition, quality):
                waiting.append(words)
                block.filter(document)

    peer, _ = best(statistics, passes=1)
    row("ours, all signals", mb, ours, len(some), peer)
    row("datatrove, Gopher statistics on the same tokens", mb, peer, len(some))
    _decisions(some, ready, signals, waiting)
    _as_shipped(code, some[:SHIPPED], ours * megabytes(some[:SHIPPED]) / mb)


def _decisions(
    some: list[str], ready: list[list[str]], signals: dict[str, np.ndarray], waiting: list[list[str]]
) -> None:
    """Reject decisions of Gopher's repetition rules, ours and datatrove's."""
    limits = {
        "duplicate_lines": 0.3,
        "duplicate_paragraphs": 0.3,
        "duplicate_line_chars": 0.2,
        "duplicate_paragraph_chars": 0.2,
        "top_2gram": 0.2,
        "top_3gram": 0.18,
        "top_4gram": 0.16,
    }
    limits |= {
        f"duplicate_{n}grams": limit
        for n, limit in zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), strict=True)
    }
    ours = np.any([signals[name] > limit for name, limit in limits.items()], axis=0)
    counted = gopher_repetition_filter.find_top_duplicate
    for what, top in (
        ("datatrove's", counted),
        ("the same", lambda grams: counted(grams) if max(Counter(grams).values()) > 1 else 0),
    ):
        gopher_repetition_filter.find_top_duplicate = top
        _compare_decisions(what, some, ready, signals, limits, ours, waiting)
    gopher_repetition_filter.find_top_duplicate = counted
    _quality_decisions(some, ready, signals, waiting)


def _quality_decisions(
    some: list[str], ready: list[list[str]], signals: Mapping[str, np.ndarray], waiting: list[list[str]]
) -> None:
    """Gopher's quality rules that both have: words, their mean length, words without letters, stop words."""
    if "stop_words" not in signals:
        return
    block = gopher_quality_filter.GopherQualityFilter(50, 10_000, 3, 10, None, None, None, 0.8, 2, stop_words=STOP)
    theirs = []
    for text, words in zip(some, ready, strict=True):
        waiting.append(words)
        theirs.append(bool(words) and block.filter(Document(text=text, id="")) is not True)
        waiting.clear()
    words, length = signals["words"], signals["mean_word_length"]
    ours = (words > 0) & (
        (words < 50)
        | (words > 10_000)
        | (length < 3)
        | (length > 10)
        | (signals["letterless_words"] > 0.2)
        | (signals["stop_words"] < 2)
    )
    print(
        f"  decisions equal, Gopher's quality rules: {np.mean(ours == np.array(theirs)):.4%}; rejected by us"
        f" {ours.mean():.2%}, by datatrove {np.mean(theirs):.2%}"
    )


def _compare_decisions(
    what: str,
    some: list[str],
    ready: list[list[str]],
    signals: Mapping[str, np.ndarray],
    limits: Mapping[str, float],
    ours: np.ndarray,
    waiting: list[list[str]],
) -> None:
    block = gopher_repetition_filter.GopherRepetitionFilter()
    reasons = []
    for text, words in zip(some, ready, strict=True):
        waiting.append(words)
        verdict = block.filter(Document(text=text, id=""))
        waiting.clear()
        reasons.append("" if verdict is True else str(verdict[1]))
    theirs = np.array([reason != "" for reason in reasons])
    same = ours == theirs
    print(
        f"  decisions equal, {what} rule for an n-gram that occurs once: {same.mean():.4%}; rejected by us"
        f" {ours.mean():.2%}, by datatrove {theirs.mean():.2%}"
    )
    for i in np.flatnonzero(~same)[:6]:
        mine = [f"{n} {signals[n][i]:.4f}" for n, limit in limits.items() if signals[n][i] > limit]
        print(f"    differs: datatrove {reasons[i] or 'keeps'}, we {mine or 'keep'}; {some[i][:60]!r}")


def _as_shipped(code: str, some: list[str], ours: float) -> None:
    from datatrove.utils.text import split_into_words

    for module in (gopher_repetition_filter, gopher_quality_filter):
        module.split_into_words = split_into_words
    blocks = (
        gopher_repetition_filter.GopherRepetitionFilter(language=code),
        gopher_quality_filter.GopherQualityFilter(language=code),
    )
    split_into_words(some[0], code)  # loads the segmenter

    def run() -> None:
        for text in some:
            for block in blocks:
                block.filter(Document(text=text, id=""))

    shipped, _ = once(run)
    row(f"datatrove, both Gopher blocks as shipped ({len(some)} pages)", megabytes(some), shipped, len(some))
    print(f"  ours against the blocks as shipped: {shipped / ours:.0f}x")


if __name__ == "__main__":
    main()
