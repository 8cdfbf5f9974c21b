"""What of a text stands verbatim in the training pool: which passages are told, in which documents, which steps read
them.

All passages that are part of no longer one are found; told are those that are long and rare enough, the rarest first,
so many for the length of the text (``trace`` in the recipe, and what a person asks for). A passage is the rarer, the
rarer its words: the sum over its units of the log of one in how many of the pool's they are, as in OLMoTrace (arXiv
2504.07096), which takes tokens. Documents that share more with the text come first.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from neo_assets.core.recipe.trace import Trace
from neo_assets.trace.hidden import NOTHING, Hidden
from neo_assets.trace.search import Passage, Place, TraceIndex, Units, alike, units_of
from neo_assets.trace.written import NOT_CAUSE

LOOKED_AT = 256
"""Places of a passage that are looked at, whatever is told: of boilerplate, a sample."""
AROUND = 120
"""Bytes of a document that are told before and after a passage."""


@dataclass(frozen=True)
class Read:
    """Steps of a run whose update read a passage, in order. ``exact`` is false where the tokens of the
    passage cannot be told from the document's, whose steps these are then. ``until``: the last step that counts.
    ``held``: the document is in the run's text.
    """

    run: str
    steps: list[int]
    until: int
    held: bool
    exact: bool = True


@dataclass(frozen=True)
class Document:
    """A document of the pool that holds a passage, at ``begin`` to ``end`` of the ``bytes`` of its text: ``text``, with
    the punctuation around it as far as it is the same there.
    """

    doc_id: str
    url: str
    title: str
    source: str
    licence: str
    lang: str
    bytes: int
    begin: int
    end: int
    before: str
    text: str
    after: str
    shares: float
    """Rarity of all passages told of it, nats."""
    read: list[Read] = field(default_factory=list)


@dataclass(frozen=True)
class Told:
    """A passage of a turn: its characters there, how many units, how often it stands in the pool."""

    turn: int
    begin: int
    end: int
    text: str
    units: int
    count: int
    rarity: float
    documents: list[Document] = field(default_factory=list)


@dataclass(frozen=True)
class Turn:
    """A part of what is traced. One that was not written by a model, the prompt, is shown and not looked for."""

    text: str
    role: str = ""
    traced: bool = True


@dataclass(frozen=True)
class Traced:
    """Turns, the passages told of them in their order, and what was found and is not told."""

    turns: list[Turn]
    told: list[Told]
    units: int
    covered: int
    """Units in passages that are told."""
    short: int
    common: int
    more: int
    """Found, and not told: shorter than `min_units`; in more than `max_occurrences` places; beyond `share`."""
    withdrawn: int = 0
    """Found in withdrawn documents alone, and not told."""
    note: str = NOT_CAUSE

    def plain(self) -> dict[str, object]:
        return asdict(self)


Spans = Mapping[str, Sequence[tuple[int, int]]]
"""Bytes, by document."""
Reads = Callable[[Spans, Mapping[str, int]], Mapping[tuple[str, int, int], list[Read]]]
"""Which steps read which bytes of which documents, by (doc_id, begin, end); given these, and the documents' sizes."""


@dataclass(frozen=True)
class _Candidate:
    turn: int
    asked: Units
    passage: Passage
    rarity: float


def trace(
    index: TraceIndex, turns: Sequence[Turn], settings: Trace, reads: Reads | None = None, hidden: Hidden = NOTHING
) -> Traced:
    """Look for every turn that a model wrote. ``settings`` say what is told; :data:`EVERYTHING` tells all, but for what
    is ``hidden``.
    """
    asked = {number: units_of(turn.text) for number, turn in enumerate(turns) if turn.traced}
    found = [(number, held, passage) for number, held in asked.items() for passage in index.passages(held)]
    long = [f for f in found if f[2].last - f[2].first >= settings.min_units]
    rare = [f for f in long if f[2].count <= settings.max_occurrences]
    candidates: list[_Candidate] = []
    for number, held in asked.items():
        mine = [passage for at, _, passage in rare if at == number]
        weights = index.rarity(held, sorted({n for p in mine for n in range(p.first, p.last)}))
        candidates += [_Candidate(number, held, p, sum(weights[n] for n in range(p.first, p.last))) for p in mine]
    units = sum(map(len, asked.values()))
    candidates.sort(key=lambda c: (-c.rarity, c.turn, c.passage.begin))
    chosen = candidates[: math.ceil(settings.share * units)]
    places = [_shown(index, c, hidden) for c in chosen]
    withdrawn = sum(found is None for found in places)
    chosen = [c for c, found in zip(chosen, places, strict=True) if found is not None]
    told = _with_documents(index, chosen, [found for found in places if found is not None], settings.documents)
    if reads is not None:
        told = _with_reads(told, reads)
    return Traced(
        turns=list(turns),
        told=sorted(told, key=lambda t: (t.turn, t.begin)),
        units=units,
        covered=len({(c.turn, n) for c in chosen for n in range(c.passage.first, c.passage.last)}),
        short=len(found) - len(long),
        common=len(long) - len(rare),
        more=len(candidates) - len(chosen) - withdrawn,
        withdrawn=withdrawn,
    )


EVERYTHING = {"min_units": 1, "max_occurrences": 1 << 40, "share": 1.0}


# ------------------------------------------------------------------ documents


def _shown(index: TraceIndex, candidate: _Candidate, hidden: Hidden) -> list[Place] | None:
    """Places of a passage that are shown; None where all that are looked at are hidden."""
    passage = candidate.passage
    found = index.places(candidate.asked, passage.first, passage.last, LOOKED_AT)
    shown = [place for place, out in zip(found, hidden.of(index, found), strict=True) if not out]
    return shown or None


def _with_documents(
    index: TraceIndex, chosen: Sequence[_Candidate], places: Sequence[Sequence[Place]], most: int
) -> list[Told]:
    """The passages with the documents that they stand in, those first that share most with the text."""
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for candidate, found in zip(chosen, places, strict=True):
        for document in {(p.shard, p.document) for p in found}:
            shares[document] += candidate.rarity
    out = []
    for candidate, found in zip(chosen, places, strict=True):
        left, right = _with_punctuation(index, candidate, found)
        begin, end = candidate.passage.begin - left, candidate.passage.end + right
        first: dict[tuple[int, int], Place] = {}
        for place in found:
            first.setdefault((place.shard, place.document), place)
        ranked = sorted(first.values(), key=lambda p: (-shares[p.shard, p.document], p.shard, p.document))
        text = candidate.asked.text
        beside = _Beside(text[begin : begin + left], text[begin + left : end - right], text[end - right : end])
        out.append(
            Told(
                turn=candidate.turn,
                begin=len(text[:begin].decode("utf-8")),
                end=len(text[:end].decode("utf-8")),
                text=text[begin:end].decode("utf-8"),
                units=candidate.passage.last - candidate.passage.first,
                count=_count(candidate, found),
                rarity=round(candidate.rarity, 2),
                documents=[
                    _document(index, place, beside, shares[place.shard, place.document]) for place in ranked[:most]
                ],
            )
        )
    return out


def _count(candidate: _Candidate, shown: Sequence[Place]) -> int:
    """Places of a passage, without those of hidden documents among what is looked at."""
    return candidate.passage.count - min(candidate.passage.count, LOOKED_AT) + len(shown)


def _with_punctuation(index: TraceIndex, candidate: _Candidate, places: Sequence[Place]) -> tuple[int, int]:
    """Bytes before and after a passage that are no units, and stand beside it at one of its places as in the text:
    before it what opens, brackets and quotation marks; after it whatever there is.
    """
    asked, passage = candidate.asked, candidate.passage
    before = asked.text[int(asked.ends[passage.first - 1]) if passage.first else 0 : passage.begin]
    upto = int(asked.begins[passage.last]) if passage.last < len(asked) else len(asked.text)
    after = asked.text[passage.end : upto]
    best = (0, 0)
    for place in places if before.strip() or after.strip() else ():
        size = passage.end - passage.begin
        left, right = index.shards[place.shard].around(place, size, len(before), len(after))
        best = max(best, (alike(before[::-1], left[::-1]), alike(after, right)), key=sum)
    front, back = before[len(before) - best[0] :].decode("utf-8", "ignore"), after[: best[1]].decode("utf-8", "ignore")
    opening = next((n for n, c in enumerate(reversed(front)) if not _opens(c)), len(front))
    return len(front[len(front) - opening :].encode()), len(back.rstrip().encode())


def _opens(character: str) -> bool:
    return character in "\"'" or unicodedata.category(character) in ("Ps", "Pi")


@dataclass(frozen=True)
class _Beside:
    """A passage, and the punctuation around it that is told with it."""

    left: bytes
    passage: bytes
    right: bytes


def _document(index: TraceIndex, place: Place, beside: _Beside, shares: float) -> Document:
    shard = index.shards[place.shard]
    size = len(beside.passage)
    before, after = shard.around(place, size, AROUND + len(beside.left), AROUND + len(beside.right))
    left = len(beside.left) if beside.left and before.endswith(beside.left) else 0
    same = beside.right[: alike(beside.right, after)].decode("utf-8", "ignore").rstrip()
    right = len(same.encode())
    return Document(
        **shard.told(place.document),  # type: ignore[arg-type]  # its strings
        bytes=shard.bytes_of(place.document),
        begin=place.offset - left,
        end=place.offset + size + right,
        before=before[: len(before) - left][-AROUND:].decode("utf-8", "ignore"),
        text=(before[len(before) - left :] + beside.passage + after[:right]).decode("utf-8"),
        after=after[right : right + AROUND].decode("utf-8", "ignore"),
        shares=round(shares, 2),
    )


def _with_reads(told: Sequence[Told], reads: Reads) -> list[Told]:
    wanted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    documents = [document for passage in told for document in passage.documents]
    for document in documents:
        wanted[document.doc_id].append((document.begin, document.end))
    found = reads(wanted, {document.doc_id: document.bytes for document in documents})
    return [replace(t, documents=[replace(d, read=found[d.doc_id, d.begin, d.end]) for d in t.documents]) for t in told]
