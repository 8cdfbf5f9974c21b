"""Which of these is its translation? Multiple-choice items made from pages that exist in two languages.

Pages are paired by their addresses and their lines by :mod:`neo_assets.tasks.alignment`. Items come in sets
(``sets.py``) that show the same lines, each the translation in one item, so that nothing about a line alone gives it
away. The lines are of different pages and mostly about something else, so the task measures whether a model connects
the languages at all, not whether it translates well. Lines that keep a name or number of any source of their set are
not asked, because matching letters would answer it: that costs nearly half of the lines.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from neo_assets.tasks.alignment import LengthModel, align, fit_lengths, names, text_lines
from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.next_sentence import Limits, Text
from neo_assets.tasks.sets import answer_sets
from neo_assets.tasks.turns import take_turns

_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_WITHOUT_SPACES = frozenset({"zh", "ja"})

# Ours.
_MOST_SPREADS = 2.0  # furthest that a pair's lengths are from the expected, in standard deviations
_MOST_ALIKE = 0.4  # share of letter pairs two choices may have in common


@dataclass(frozen=True, slots=True)
class TranslationItem:
    id: str
    doc_id: str
    source: str
    choices: list[str]
    answer: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """A line and its translation."""

    id: str
    doc: Text
    source: str
    target: str


def _written(line: str, lang: str) -> bool:
    """Whether the line is in the language's script: at least half of the letters Chinese, or a tenth at most."""
    letters, han = len(_LETTER.findall(line)), len(_HAN.findall(line))
    return letters > 0 and (2 * han >= letters if lang in _WITHOUT_SPACES else 10 * han <= letters)


def _bare(line: str) -> str:
    return "".join(c for c in line.lower() if c.isalnum())


def _bigrams(line: str) -> set[str]:
    bare = _bare(line)
    return {bare[i : i + 2] for i in range(len(bare) - 1)}


def _lends(translations: Mapping[str, set[str]]) -> Callable[[_Pair, _Pair], bool]:
    """Whether the lines of two pairs can be each other's wrong translations, where ``translations`` are the lines' own,
    by source.

    They are of different pages and clusters, not much alike, and neither keeps a name or number of the other's source.
    """

    def wrong(one: _Pair, other: _Pair) -> bool:
        return not (
            one.target in translations[_bare(other.source)]
            or one.target in other.doc.text
            or names(other.source) & names(one.target)
        )

    def lend(one: _Pair, other: _Pair) -> bool:
        grams, theirs = _bigrams(one.target), _bigrams(other.target)
        alike = len(grams & theirs) > _MOST_ALIKE * len(grams | theirs)
        return one.doc.cluster_id != other.doc.cluster_id and not alike and wrong(one, other) and wrong(other, one)

    return lend


def _pairs_of(source: Text, target: Text, model: LengthModel, seed: int) -> list[_Pair]:
    lines = text_lines(source.text), text_lines(target.text)
    found = [
        (lines[0][i], lines[1][j]) for i, j, away in align(*lines, model) if abs(away) <= _MOST_SPREADS * model.spread
    ]
    return [_Pair(keyed(seed, "translation", target.doc_id, s, t), target, s, t) for s, t in dict.fromkeys(found)]


def make_translation_items(
    pairs: Sequence[tuple[Text, Text]],
    source_lang: str,
    target_lang: str,
    limits: Limits,
    *,
    items: int,
    choices: int,
    seed: int,
) -> list[TranslationItem]:
    """At most ``items`` items, in id order: a line of a page, its translation, and lines of other pages nearest to that
    in length.

    ``pairs`` are pages (source, target) of one :meth:`Split.page`. ``limits`` hold for the source as context and the
    target as choice. Lines that are not in their language's script, or the same in both, are not asked. Pages take
    turns, no line is asked or right twice, and the answer stands at every position equally often. A function of the set
    of pairs and the seed.
    """
    ordered = sorted(pairs, key=lambda p: (keyed(seed, "page", p[1].doc_id), p[0].doc_id))
    model = fit_lengths((text_lines(s.text), text_lines(t.text)) for s, t in ordered)
    by_page: dict[str, list[_Pair]] = defaultdict(list)
    for source, target in ordered:
        by_page[target.doc_id] += [
            p
            for p in _pairs_of(source, target, model, seed)
            if limits.min_context <= len(p.source) <= limits.max_context
            and limits.min_choice <= len(p.target) <= limits.max_choice
            and _bare(p.source) != _bare(p.target)
            and _written(p.source, source_lang)
            and _written(p.target, target_lang)
        ]
    translations: dict[str, set[str]] = defaultdict(set)
    for pair in (p for page in by_page.values() for p in page):
        translations[_bare(pair.source)].add(pair.target)
    ordered_pages = [
        sorted((p for p in page if not names(p.source) & names(p.target)), key=lambda p: p.id)
        for page in by_page.values()
    ]

    def draw(count: int) -> list[_Pair]:
        used: set[str] = set()

        def ask(pair: _Pair) -> _Pair | None:
            lines = {_bare(pair.source), _bare(pair.target)}
            if lines & used:
                return None
            used.update(lines)
            return pair

        return take_turns(ordered_pages, ask, items=count)

    asked = answer_sets(
        draw, lambda p: p.id, lambda p: len(p.target), _lends(translations), items=items, choices=choices, seed=seed
    )
    return [
        TranslationItem(name, p.doc.doc_id, p.source, [other.target for other in shown], answer)
        for name, p, shown, answer in asked
    ]
