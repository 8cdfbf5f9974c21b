"""How multiple-choice items are drawn: documents take turns, and the answer stands at every position equally often.

Turns keep one long document from filling a task with its subject, at the price of leaving most of its candidates
unused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from neo_assets.tasks.drawing import keyed

_SPARE_PER_DOCUMENT = 4

Candidate = TypeVar("Candidate")
Question = TypeVar("Question")


def take_turns(
    by_document: Iterable[Iterable[Candidate]], ask: Callable[[Candidate], Question | None], *, items: int
) -> list[Question]:
    """At most ``items`` questions, one a round from every document's candidates, in the order given.

    ``ask`` returns None for a candidate that cannot be asked; it sees every candidate once at most, in the order in
    which they are drawn. Nothing is read of documents that are not reached. None gives more than ``ceil(items /
    documents that give any) + 4``.
    """
    asked: list[Question] = []
    waiting: Iterator[Iterator[Candidate]] = map(iter, by_document)
    rounds, most = 0, 1
    while rounds < most:
        left = []
        for candidates in waiting:
            if len(asked) == items:
                return asked
            question = next((q for q in map(ask, candidates) if q is not None), None)
            if question is not None:
                asked.append(question)
                left.append(candidates)
        if rounds == 0 and left:
            most = math.ceil(items / len(left)) + _SPARE_PER_DOCUMENT
        waiting = iter(left)
        rounds += 1
    return asked


def even_positions(ids: Sequence[str], choices: int, seed: int) -> dict[str, int]:
    """Where each item's answer stands, 0 to ``choices - 1``: over all items no position is used more than once more
    often than another.
    """
    return {item: k % choices for k, item in enumerate(sorted(ids, key=lambda i: keyed(seed, "position", i)))}


def placed(truth: str, wrong: Sequence[str], position: int) -> list[str]:
    """The choices, with the truth at ``position``."""
    return [*wrong[:position], truth, *wrong[position:]]


def once(of: Callable[[Candidate], Hashable]) -> Callable[[Candidate], Candidate | None]:
    """To ask with :func:`take_turns`: the candidate itself, unless one with the same ``of`` has been asked."""
    seen: set[Hashable] = set()

    def ask(candidate: Candidate) -> Candidate | None:
        if of(candidate) in seen:
            return None
        seen.add(of(candidate))
        return candidate

    return ask
