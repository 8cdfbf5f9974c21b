"""Which line of a page is the translation of which line of another.

Lines are aligned as Gale and Church (1993) align sentences: by their lengths in characters, with beads of 1-1, 1-0,
0-1, 2-1 and 1-2 lines. Lengths are compared without the Latin words and numbers that both lines share, which also tell
how likely it is that the lines belong together. In place of the one best path, every bead's probability over all paths
is computed (forward and backward), and only likely 1-1 beads are handed out. That throws away correct pairs, mostly
short lines next to lines deleted on one side, and takes twice the time of the best path: about 3 ms for a page of 20
lines.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MARKER = re.compile(r"^(?:(?:\d+|[a-z])[.)、]|[•◦▪·*-])\s+")
_TOKEN = re.compile(r"[a-z][a-z0-9_]*|\d+")
_ENDINGS = {".": ".", "。": ".", ":": ":", "：": ":", "!": "!", "！": "!", "?": "!", "？": "!", "…": "…"}
_CLOSERS = "\"'”’»)]」』）》"

# All of these are ours, measured on Debian's handbook and LibreOffice's help, English and Chinese.
_BAND = 100  # lines that one page may run ahead of the other, beyond their difference
_PSEUDO = (
    2.0  # characters added to each length: with them the spread of the log ratio is the same for short and long lines
)
_LEAST_SPREAD, _FIRST_SPREAD, _ANY_SPREAD = (
    0.2,
    0.3,
    1.2,
)  # of the log ratio of lengths: of translations, at least and before it is estimated; of any two lines
_MATCH, _GAP, _MERGE = -0.4, -1.5, -2.5  # log of how often a bead occurs
_SHARED, _MOST_SHARED = (
    0.8,
    6.0,
)  # how often a word found on both pages is kept by a translation; most evidence (nats) from such words
_UNSHARED, _MOST_UNSHARED = -1.5, -4.5  # for every word or number that the line with fewer of them does not share
_SAME_ENDING, _OTHER_ENDING = 0.5, -1.5  # full stop, colon, question or none
_FIT_PAGES, _FIT_ROUNDS = 200, 3  # lengths are estimated from so many pages, so many times
_LEAST_EVIDENCE = -8.0  # of lengths, nats: a line may be cut
_SURE = 0.8  # least probability of a bead: 99 of 100 such beads are right, and 98 of 100 from 0.5


@dataclass(frozen=True, slots=True)
class LengthModel:
    """The log of target over source characters is normal, with median ``log(ratio)`` and standard
    deviation ``spread``.
    """

    ratio: float
    spread: float


def names(line: str) -> set[str]:
    """The Latin words and the numbers of a line, which a translation may keep."""
    return set(_TOKEN.findall(line.lower()))


def text_lines(text: str) -> list[str]:
    """The lines that hold something, without indentation and list markers."""
    return [line for line in (_MARKER.sub("", raw.strip()) for raw in text.splitlines()) if line]


class _Page:
    """A page's lines and what is compared of them."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lengths = np.array([len(line) for line in lines], np.float64)
        self.tokens = [names(line) for line in lines]
        self.counts = np.array([len(t) for t in self.tokens], np.float64)
        ends = [_ENDINGS.get(line.rstrip(_CLOSERS)[-1:], "") for line in lines]
        self.endings = np.array([["", *sorted(set(_ENDINGS.values()))].index(e) for e in ends])
        self.where: dict[str, list[int]] = defaultdict(list)
        for i, tokens in enumerate(self.tokens):
            for token in tokens:
                self.where[token].append(i)


def _from_expected(source: Floats, target: Floats, model: LengthModel) -> Floats:
    away: Floats = np.log(target + _PSEUDO) - np.log(model.ratio * source + _PSEUDO)
    return away


def _length_evidence(distance: Floats, model: LengthModel) -> Floats:
    """Log of how much likelier this distance (log ratio) is for translations than for any two lines."""
    evidence: Floats = np.maximum(
        0.5 * (distance / _ANY_SPREAD) ** 2 - 0.5 * (distance / model.spread) ** 2 + np.log(_ANY_SPREAD / model.spread),
        _LEAST_EVIDENCE,
    )
    return evidence


def _compare(source: _Page, target: _Page, low: int, width: int, model: LengthModel) -> tuple[Floats, Floats]:
    """(evidence, log ratio of lengths from the expected) for lines i and j = i + k - ``low``: float64 (lines,
    ``width``), -inf outside the page.
    """
    n, m = len(source.lengths), len(target.lengths)
    evidence = np.full((n, width), -np.inf)
    distance = np.full((n, width), np.inf)
    for i in range(n):
        first, last = max(i - low, 0), min(i - low + width, m)
        if first >= last:
            continue
        letters, shared, known = np.zeros(m), np.zeros(m), np.zeros(m)
        for token in sorted(source.tokens[i]):
            there = target.where.get(token)
            if there:
                letters[there] += len(token)
                shared[there] += 1
                known[there] += np.log(_SHARED * max(n, m) / max(len(there), len(source.where[token])) + 1 - _SHARED)
        here = slice(first, last)
        unshared = np.minimum(source.counts[i], target.counts[here]) - shared[here]
        away = _from_expected(
            source.lengths[i] - letters[here] + letters[here] / model.ratio, target.lengths[here], model
        )
        same = source.endings[i] == target.endings[here]
        columns = slice(first - i + low, last - i + low)
        distance[i, columns] = away
        evidence[i, columns] = (
            _length_evidence(away, model)
            + np.minimum(known[here], _MOST_SHARED)
            + np.maximum(unshared * _UNSHARED, _MOST_UNSHARED)
            + np.where(same, _SAME_ENDING, _OTHER_ENDING)
        )
    return evidence, distance


def _forward(match: Floats, source: Floats, target: Floats, low: int, model: LengthModel) -> Floats:
    """Log weight of all paths to "i lines and j = i + k - ``low`` lines are done": float64 (source
    lines + 1, width).
    """
    n, m, width = len(source), len(target), match.shape[1]
    done = np.full((n + 1, width), -np.inf)
    before_gap = np.full(
        (n + 1, width), -np.inf
    )  # gaps of the source come before gaps of the target, or every order would count
    slope = _GAP * np.arange(width)
    two_targets = np.append(0.0, target[:-1] + target[1:])
    for i in range(n + 1):
        columns = np.arange(max(low - i, 0), min(m - i + low + 1, width))
        if not len(columns):
            continue
        here = np.full(width, -np.inf)
        if i == 0:
            here[low] = 0.0
        else:
            here = np.logaddexp(done[i - 1] + match[i - 1] + _MATCH, np.append(before_gap[i - 1, 1:], -np.inf) + _GAP)
            j = columns + i - low - 1  # last line of the target in the bead
            inside = columns[j >= 0]
            if i >= 2 and len(inside):
                merged = (
                    _length_evidence(_from_expected(source[i - 2] + source[i - 1], target[j[j >= 0]], model), model)
                    + _MERGE
                )
                here[inside] = np.logaddexp(here[inside], np.append(done[i - 2, 1:], -np.inf)[inside] + merged)
            inside = columns[j >= 1]
            if len(inside):
                merged = _length_evidence(_from_expected(source[i - 1], two_targets[j[j >= 1]], model), model) + _MERGE
                here[inside] = np.logaddexp(here[inside], np.append(-np.inf, done[i - 1, :-1])[inside] + merged)
        before_gap[i, columns] = here[columns]
        done[i] = np.logaddexp.accumulate(before_gap[i] - slope) + slope
        done[i, columns[-1] + 1 :] = -np.inf
    return done


def align(source: Sequence[str], target: Sequence[str], model: LengthModel) -> list[tuple[int, int, float]]:
    """(source line, target line, log ratio of lengths from the expected) of the 1-1 beads that are likely, in order.

    Time and memory grow with the lines times a band of 200 lines and the pages' difference: 2,000 lines of each take
    about 20 MB and two seconds.
    """
    if not source or not target:
        return []
    pages = _Page(source), _Page(target)
    n, m = len(source), len(target)
    margin = min(_BAND, max(n, m))
    low = margin + max(0, n - m)
    width = low + margin + max(0, m - n) + 1
    match, distance = _compare(*pages, low, width, model)
    before = _forward(match, pages[0].lengths, pages[1].lengths, low, model)
    after = _forward(match[::-1, ::-1], pages[0].lengths[::-1], pages[1].lengths[::-1], low, model)[::-1, ::-1]
    sure = before[:-1] + match + _MATCH + after[1:] - before[n, m - n + low] > np.log(_SURE)
    return [(int(i), int(i + k - low), float(distance[i, k])) for i, k in np.argwhere(sure)]


def fit_lengths(pages: Iterable[tuple[Sequence[str], Sequence[str]]]) -> LengthModel:
    """The ratio of lengths as the first 200 of these pairs of pages have it: first of whole pages, then of the lines
    aligned with that, three times.
    """
    pairs = [(s, t) for s, t in pages if set(s) - set(t) and set(t) - set(s)][:_FIT_PAGES]
    if not pairs:
        return LengthModel(1.0, _FIRST_SPREAD)
    model = LengthModel(
        float(np.median([sum(map(len, set(t) - set(s))) / sum(map(len, set(s) - set(t))) for s, t in pairs])),
        _FIRST_SPREAD,
    )
    for _ in range(_FIT_ROUNDS):
        away = np.array(
            [
                d
                for s, t in pairs
                for i, j, d in align(s, t, model)
                if 2 * sum(map(len, names(s[i]) & names(t[j]))) < len(t[j])
            ]
        )
        if not len(away):
            break
        middle = float(np.median(away))
        model = LengthModel(
            model.ratio * float(np.exp(middle)),
            float(np.clip(1.4826 * np.median(np.abs(away - middle)), _LEAST_SPREAD, _FIRST_SPREAD)),
        )
    return model
