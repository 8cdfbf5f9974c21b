"""Which word fills the gap? Multiple-choice items made from plain documents.

A choice is a word with the rest of its sentence, so that a model that reads from left to right is asked about the words
after the gap as well; the choices differ in the word alone. Wrong words are of the corpus, of the same shape (capital,
English ending) and nearest in frequency and length, so that none of these gives the answer away. To be plausible, those
come first that have been seen after the same word or before the same word as the truth; to be wrong, none is taken that
has been seen so on both sides, occurs in the document, or shares its stem (Chinese: a character) with the truth. The
truth occurs once in what is shown, or copying would answer; words that the document uses elsewhere are asked first. No
list of function words is needed: a word in too many documents is none to ask for.

The price: a synonym that the corpus never shows in that place can still be a wrong choice. Of 60 items read, English
and Chinese, about six had a second word that a reader might defend.
"""

from __future__ import annotations

import bisect
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from neo_assets.tasks.drawing import keyed
from neo_assets.tasks.next_sentence import ChoiceItem, Limits, Text
from neo_assets.tasks.turns import even_positions, placed, take_turns
from neo_assets.text.sentences import delimiter, sentence_spans

_ENGLISH = re.compile(r"\w+(?:['’./+\-]\w+)*|[^\w\s]")
_WORD = re.compile(r"[A-Z]?[a-z]{3,}$")
_HAN_WORD = re.compile(r"[\u3400-\u9fff]{2,}$")
_WITHOUT_SPACES = frozenset({"zh", "ja"})
_ENDINGS = ("ing", "ed", "ly", "s")

# Ours.
_LEAST_DOCUMENTS = 2  # a word of one document may be a name or an error
_MOST_DOCUMENTS = 0.2  # share; more is a function word, or says nothing about its place
_MOST_ANSWERS = 3  # items with one answer
_STEM = 4  # letters; English words that begin alike count as one word
_NEIGHBOURHOOD = 400  # words next in frequency, on either side, that are looked at
_STRANGER = 3.0  # what a word without a neighbour in common is put back by; doublings of frequency or letters of length


@dataclass(frozen=True, slots=True)
class _Gap:
    """A word of a document that can be asked for."""

    id: str
    doc: Text
    of_subject: bool
    context: str
    sentence: str
    before: str
    word: str
    after: str
    rest: str


def _words(sentence: str, lang: str) -> list[tuple[int, str]]:
    """(begin, word) of the words and marks of a sentence."""
    if lang not in _WITHOUT_SPACES:
        return [(match.start(), match.group()) for match in _ENGLISH.finditer(sentence)]
    import rjieba

    found, at = [], 0
    for word in rjieba.cut(sentence):
        if not word.isspace():
            found.append((at, word))
        at += len(word)
    return found


def _askable(word: str, lang: str) -> bool:
    return bool((_HAN_WORD if lang in _WITHOUT_SPACES else _WORD).match(word))


def _shape(word: str, lang: str) -> str:
    """Words of one shape can stand in for each other."""
    if lang in _WITHOUT_SPACES:
        return ""
    return f"{word[0].isupper()} {next((e for e in _ENDINGS if word.endswith(e)), '')}"


def _same_stem(word: str, other: str, lang: str) -> bool:
    if lang in _WITHOUT_SPACES:
        return bool(set(word) & set(other))
    return word[:_STEM].lower() == other[:_STEM].lower()


class _Vocabulary:
    """The words of a corpus that can be asked for or stand in, by shape and frequency, and the company they keep."""

    def __init__(self, docs: Sequence[Text], lang: str) -> None:
        self.lang = lang
        self.documents: Counter[str] = Counter()
        self._pairs: set[tuple[str, str]] = set()
        for doc in docs:
            seen: set[str] = set()
            for spans in sentence_spans(doc.text, lang):
                for begin, end in spans:
                    words = [w for _, w in _words(doc.text[begin:end], lang)]
                    seen.update(w for w in words[1:] if _askable(w, lang))
                    self._pairs.update(pairwise(words))
            self.documents.update(seen)
        most = max(_LEAST_DOCUMENTS, _MOST_DOCUMENTS * len(docs))
        self.known = {w for w, n in self.documents.items() if _LEAST_DOCUMENTS <= n <= most}
        self._by_shape: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for word in self.known:
            self._by_shape[_shape(word, lang)].append((self.documents[word], word))
        for ranked in self._by_shape.values():
            ranked.sort()

    def nearest(self, gap: _Gap, wanted: int, seed: int) -> list[str]:
        """Up to ``wanted`` words that could stand in the gap and do not belong there."""
        ranked = self._by_shape[_shape(gap.word, self.lang)]
        middle = bisect.bisect(ranked, (self.documents[gap.word], gap.word))
        text = gap.doc.text.lower()
        found = []
        for count, word in ranked[max(0, middle - _NEIGHBOURHOOD) : middle + _NEIGHBOURHOOD]:
            fits = ((gap.before, word) in self._pairs) + ((word, gap.after) in self._pairs)
            if fits == 2 or _same_stem(word, gap.word, self.lang) or word.lower() in text:
                continue
            distance = (
                abs(math.log2(count / self.documents[gap.word]))
                + abs(len(word) - len(gap.word))
                + _STRANGER * (fits == 0)
            )
            found.append((round(distance), keyed(seed, "distractor", gap.id, word), word))
        chosen: list[str] = []
        for *_, word in sorted(found):
            if not any(_same_stem(word, other, self.lang) for other in chosen):
                chosen.append(word)
                if len(chosen) == wanted:
                    break
        return chosen


def _ranked(doc: Text, vocabulary: _Vocabulary, limits: Limits, seed: int) -> Iterator[_Gap]:
    yield from sorted(_gaps(doc, vocabulary, limits, seed), key=lambda gap: (not gap.of_subject, gap.id))


def _gaps(doc: Text, vocabulary: _Vocabulary, limits: Limits, seed: int) -> Iterator[_Gap]:
    lang = vocabulary.lang
    space = delimiter(lang)
    starts: list[int] = []
    for spans in sentence_spans(doc.text, lang):
        for begin, end in spans:
            starts.append(begin)
            words = _words(doc.text[begin:end], lang)
            for (_, before), (at, word), (_, after) in zip(words, words[1:], words[2:], strict=False):
                gap = begin + at
                context_end = gap - len(space)
                if (
                    word not in vocabulary.known
                    or doc.text[context_end:gap] != space
                    or doc.text[context_end - 1].isspace()
                ):
                    continue
                if not limits.min_choice <= end - gap <= limits.max_choice:
                    continue
                # Whole sentences, and the beginning of this one.
                context_begin = next((s for s in starts if context_end - s <= limits.max_context), gap)
                shown = doc.text[context_begin:context_end], doc.text[gap + len(word) : end]
                if len(shown[0]) < limits.min_context or any(word.lower() in part.lower() for part in shown):
                    continue
                key = keyed(seed, "word", doc.doc_id, gap)
                yield _Gap(
                    key, doc, doc.text.count(word) > 1, shown[0], doc.text[begin:end], before, word, after, shown[1]
                )


def make_cloze_items(
    docs: Sequence[Text], lang: str, limits: Limits, *, items: int, choices: int, seed: int
) -> list[ChoiceItem]:
    """At most ``items`` items with ``choices`` choices each, in id order; a function of the set of documents, not of
    their order.

    Context, delimiter and truth together are the document's text. ``limits`` hold for the shown text before the gap,
    and for a choice: the word and the rest of its sentence. Documents take turns; a sentence is used once, a word is
    the answer of three items at most, and the answer stands at every position equally often.
    """
    vocabulary = _Vocabulary(docs, lang)
    sentences: set[str] = set()
    answers: Counter[str] = Counter()

    def ask(gap: _Gap) -> tuple[_Gap, list[str]] | None:
        if gap.sentence in sentences or answers[gap.word] == _MOST_ANSWERS:
            return None
        wrong = vocabulary.nearest(gap, choices - 1, seed)
        if len(wrong) < choices - 1:
            return None
        sentences.add(gap.sentence)
        answers[gap.word] += 1
        return gap, wrong

    ordered = sorted(docs, key=lambda d: keyed(seed, "document", d.doc_id))
    asked = take_turns((_ranked(d, vocabulary, limits, seed) for d in ordered), ask, items=items)
    position = even_positions([gap.id for gap, _ in asked], choices, seed)
    made = [
        ChoiceItem(
            g.id,
            g.doc.doc_id,
            g.context,
            [word + g.rest for word in placed(g.word, wrong, position[g.id])],
            position[g.id],
        )
        for g, wrong in asked
    ]
    return sorted(made, key=lambda item: item.id)
