"""Which of these is its translation? Multiple-choice items made from pages that exist in two languages.

Pages are paired by their addresses and their lines by :mod:`neo_assets.evaluate.alignment`. Wrong choices are translations from other
pages, nearest in length to the true one. They are mostly about something else, so the task measures whether a model connects the
languages at all, not whether it translates well. Where the true line alone keeps a name or number of the source, nothing is asked,
because matching letters would answer it: that costs a third of the items.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neo_assets.evaluate.alignment import LengthModel, align, fit_lengths, names, text_lines
from neo_assets.evaluate.drawing import keyed
from neo_assets.evaluate.next_sentence import Limits, Text
from neo_assets.evaluate.turns import even_positions, placed, take_turns

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


class _Pool:
    """Lines that can stand in as wrong translations, by length: the translations of other pages, so that they are whole and translated as well."""

    def __init__(self, pairs: Iterable[_Pair]) -> None:
        self._by_length: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._translations: dict[str, set[str]] = defaultdict(set)
        for pair in pairs:
            self._by_length[len(pair.target)][pair.target].add(pair.doc.cluster_id)
            self._translations[_bare(pair.source)].add(pair.target)
        self._reach = max(self._by_length, default=0)

    def nearest(self, pair: _Pair, wanted: int, seed: int) -> list[str]:
        """Up to ``wanted`` lines, nearest in length first; none of the pair's page or cluster, a translation of the same source, or much like a chosen one."""
        chosen: list[str] = []
        like = [_bigrams(pair.target)]
        translations = self._translations[_bare(pair.source)]
        length = len(pair.target)
        for distance in range(self._reach + 1):
            here = [s for at in sorted({length - distance, length + distance}) for s in self._by_length.get(at, {}).items()]
            for line, clusters in sorted(here, key=lambda s: keyed(seed, "distractor", pair.id, s[0])):
                grams = _bigrams(line)
                if pair.doc.cluster_id in clusters or line in translations or line in pair.doc.text or any(len(grams & g) > _MOST_ALIKE * len(grams | g) for g in like):
                    continue
                chosen.append(line)
                like.append(grams)
                if len(chosen) == wanted:
                    return chosen
        return chosen


def _pairs_of(source: Text, target: Text, model: LengthModel, seed: int) -> list[_Pair]:
    lines = text_lines(source.text), text_lines(target.text)
    found = [(lines[0][i], lines[1][j]) for i, j, away in align(*lines, model) if abs(away) <= _MOST_SPREADS * model.spread]
    return [_Pair(keyed(seed, "translation", target.doc_id, s, t), target, s, t) for s, t in dict.fromkeys(found)]


def make_translation_items(pairs: Sequence[tuple[Text, Text]], source_lang: str, target_lang: str, limits: Limits, *, items: int, choices: int, seed: int) -> list[TranslationItem]:
    """At most ``items`` items, in id order: a line of a page, its translation, and lines of other pages nearest to that in length.

    ``pairs`` are pages (source, target) of one :meth:`Split.page`. ``limits`` hold for the source as context and the target as choice. Lines that
    are not in their language's script, or the same in both, are not asked. Pages take turns, no line is asked or right twice, and the answer stands at every
    position equally often. A function of the set of pairs and the seed.
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
    pool = _Pool(pair for page in by_page.values() for pair in page)
    used: set[str] = set()

    def ask(pair: _Pair) -> tuple[_Pair, list[str]] | None:
        lines = {_bare(pair.source), _bare(pair.target)}
        if lines & used:
            return None
        wrong = pool.nearest(pair, choices - 1, seed)
        kept = [len(names(pair.source) & names(line)) for line in (pair.target, *wrong)]
        if len(wrong) < choices - 1 or kept[0] > max(kept[1:], default=0):
            return None
        used.update(lines)
        return pair, wrong

    asked = take_turns([sorted(page, key=lambda p: p.id) for page in by_page.values()], ask, items=items)
    position = even_positions([pair.id for pair, _ in asked], choices, seed)
    made = [TranslationItem(p.id, p.doc.doc_id, p.source, placed(p.target, wrong, position[p.id]), position[p.id]) for p, wrong in asked]
    return sorted(made, key=lambda item: item.id)
