"""Which of these sentences comes next? Multiple-choice items made from plain documents.

An item's true choice is a sentence that has another one before it on its own line, so that context, delimiter and truth
together are the document's text letter for letter. The wrong choices are the truths of other documents' items: items
come in sets (``sets.py``) that show the same choices, each right once, so that nothing about a sentence alone tells
right from wrong. A distractor from another document is often off topic, which makes the task easier than a human-
written one: it measures whether a model follows a text, not whether it knows facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.sets import answer_sets
from neo_assets.tasks.turns import once, take_turns
from neo_assets.text.sentences import delimiter, sentence_spans


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


def _candidates(doc: Text, lang: str, limits: Limits, seed: int) -> list[_Candidate]:
    gap = delimiter(lang)
    starts: list[int] = []
    found = []
    for spans in sentence_spans(doc.text, lang):
        for i, (begin, end) in enumerate(spans):
            starts.append(begin)
            if (
                i == 0
                or doc.text[spans[i - 1][1] : begin] != gap
                or not limits.min_choice <= end - begin <= limits.max_choice
            ):
                continue
            context_end = begin - len(gap)
            # Whole sentences only: the longest run of them before this one that fits.
            context_begin = next((s for s in starts if context_end - s <= limits.max_context), begin)
            if context_end - context_begin < limits.min_context:
                continue
            found.append(
                _Candidate(
                    keyed(seed, "item", doc.doc_id, begin),
                    doc,
                    doc.text[context_begin:context_end],
                    doc.text[begin:end],
                )
            )
    return sorted(found, key=lambda c: c.id)


def _lend(one: _Candidate, other: _Candidate) -> bool:
    """Whether each truth can be a wrong choice of the other: of another cluster, and nowhere in the other's document,
    not even inside a longer sentence.
    """
    return (
        one.doc.cluster_id != other.doc.cluster_id
        and one.truth not in other.doc.text
        and other.truth not in one.doc.text
    )


def make_items(
    docs: Sequence[Text], lang: str, limits: Limits, *, items: int, choices: int, seed: int
) -> list[ChoiceItem]:
    """At most ``items`` items with ``choices`` choices each, in whole sets; a function of the set of documents, not of
    their order.

    Documents take turns, one sentence a round, in an order keyed by ``seed``; none gives more than ``ceil(items /
    documents) + 4``. The sentences drawn that are nearest in length (characters) make a set.
    """
    ordered = [
        _candidates(d, lang, limits, seed) for d in sorted(docs, key=lambda d: keyed(seed, "document", d.doc_id))
    ]

    def draw(count: int) -> list[_Candidate]:
        return take_turns(ordered, once(lambda c: c.truth), items=count)

    asked = answer_sets(draw, lambda c: c.id, lambda c: len(c.truth), _lend, items=items, choices=choices, seed=seed)
    return [
        ChoiceItem(name, c.doc.doc_id, c.context, [other.truth for other in shown], answer)
        for name, c, shown, answer in asked
    ]
