"""Which of these sentences comes next? Multiple-choice items made from plain documents.

A sentence ends at ``. ! ?`` before white space and no lower-case letter, or at ``。！？`` anywhere. An item's true choice is a sentence
that has another one before it on its own line, so that context, delimiter and truth together are the document's text letter
for letter. Distractors are sentences of other documents, the nearest to the truth in length (characters), so length alone
gives nothing away; ties are settled by a keyed hash. A distractor from another document is often off topic, which makes the
task easier than a human-written one: it measures whether a model follows a text, not whether it knows facts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from neo_assets.evaluate.drawing import keyed
from neo_assets.evaluate.turns import even_positions, placed, take_turns

_CLOSERS = "\"'”’»)\\]」』）》"
_END_LATIN = re.compile(rf"[.!?]+[{_CLOSERS}]*(?=\s|$)")
_END_HAN = re.compile(rf"[。！？!?]+[{_CLOSERS}]*")
_ABBREVIATION = re.compile(r"(?:^|[\s(\"“])(?:[A-Za-z]|[A-Za-z]\.[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|cf|Fig|No|Vol|pp|al|approx|Inc|Ltd|Jr|Sr)\.$")
_WITHOUT_SPACES = frozenset({"zh", "ja"})


@dataclass(frozen=True, slots=True)
class Text:
    """One document, as far as items need it."""

    doc_id: str
    cluster_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Lengths in characters."""

    min_context: int
    max_context: int
    min_choice: int
    max_choice: int


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    id: str
    doc_id: str
    context: str
    choices: list[str]
    answer: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: str
    doc: Text
    context: str
    truth: str


def delimiter(lang: str) -> str:
    """What stands between two sentences of a line."""
    return "" if lang in _WITHOUT_SPACES else " "


def sentence_spans(text: str, lang: str) -> Iterator[list[tuple[int, int]]]:
    """(begin, end) of the whole sentences of each line. What follows a line's last full stop is no sentence."""
    position = 0
    for line in text.splitlines(keepends=True):
        spans = []
        begin = 0
        for match in (_END_HAN if lang in _WITHOUT_SPACES else _END_LATIN).finditer(line):
            end = match.end()
            if lang not in _WITHOUT_SPACES:
                following = line[end:].lstrip()[:1]
                if following.islower() or _ABBREVIATION.search(line[begin:end]):
                    continue
            while begin < end and line[begin].isspace():
                begin += 1
            if begin < end:
                spans.append((position + begin, position + end))
            begin = end
        yield spans
        position += len(line)


def _candidates(doc: Text, lang: str, limits: Limits, seed: int) -> list[_Candidate]:
    gap = delimiter(lang)
    starts: list[int] = []
    found = []
    for spans in sentence_spans(doc.text, lang):
        for i, (begin, end) in enumerate(spans):
            starts.append(begin)
            if i == 0 or doc.text[spans[i - 1][1] : begin] != gap or not limits.min_choice <= end - begin <= limits.max_choice:
                continue
            context_end = begin - len(gap)
            # Whole sentences only: the longest run of them before this one that fits.
            context_begin = next((s for s in starts if context_end - s <= limits.max_context), begin)
            if context_end - context_begin < limits.min_context:
                continue
            found.append(_Candidate(keyed(seed, "item", doc.doc_id, begin), doc, doc.text[context_begin:context_end], doc.text[begin:end]))
    return sorted(found, key=lambda c: c.id)


class _Pool:
    """Sentences that can stand in as wrong choices, by length."""

    def __init__(self, docs: Iterable[Text], lang: str, limits: Limits) -> None:
        by_length: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for doc in docs:
            for spans in sentence_spans(doc.text, lang):
                for begin, end in spans:
                    if limits.min_choice <= end - begin <= limits.max_choice:
                        by_length[end - begin][doc.text[begin:end]].add(doc.cluster_id)
        self._by_length = by_length
        self._reach = limits.max_choice - limits.min_choice

    def nearest(self, candidate: _Candidate, wanted: int, seed: int) -> list[str]:
        """Up to ``wanted`` sentences, nearest in length first, none of which occurs in the candidate's own document or cluster."""
        chosen: list[str] = []
        length = len(candidate.truth)
        for distance in range(self._reach + 1):
            here = [s for at in sorted({length - distance, length + distance}) for s in self._by_length.get(at, {}).items()]
            for sentence, clusters in sorted(here, key=lambda s: keyed(seed, "distractor", candidate.id, s[0])):
                if candidate.doc.cluster_id in clusters or sentence in candidate.doc.text:
                    continue
                chosen.append(sentence)
                if len(chosen) == wanted:
                    return chosen
        return chosen


def make_items(docs: Sequence[Text], lang: str, limits: Limits, *, items: int, choices: int, seed: int) -> list[ChoiceItem]:
    """At most ``items`` items with ``choices`` choices each, in id order; a function of the set of documents, not of their order.

    Documents take turns, one item a round, in an order keyed by ``seed``; none gives more than ``ceil(items / documents) + 4``.
    The answer's position is spread evenly: over all items no position is used more than once more often than another.
    """
    pool = _Pool(docs, lang, limits)
    truths: set[str] = set()

    def ask(candidate: _Candidate) -> tuple[_Candidate, list[str]] | None:
        wrong = pool.nearest(candidate, choices - 1, seed)
        if len(wrong) < choices - 1 or candidate.truth in truths:
            return None
        truths.add(candidate.truth)
        return candidate, wrong

    ordered = sorted(docs, key=lambda d: keyed(seed, "document", d.doc_id))
    asked = take_turns([_candidates(d, lang, limits, seed) for d in ordered], ask, items=items)
    position = even_positions([c.id for c, _ in asked], choices, seed)
    made = [ChoiceItem(c.id, c.doc.doc_id, c.context, placed(c.truth, wrong, position[c.id]), position[c.id]) for c, wrong in asked]
    return sorted(made, key=lambda item: item.id)
