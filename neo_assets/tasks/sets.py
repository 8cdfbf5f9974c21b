"""Multiple-choice items in sets that show the same choices, each of which is right in one item of its set.

Whoever looks at the choices alone picks the same one in every item of a set, and is right once: what guessing scores,
exactly, whatever is looked at (length, beginning, rarity, number of tokens, position) and whatever the documents are. A
model without training hardly reads the context, so that it scores what guessing does, with any tokenizer. Wrong choices
that are looked for to each truth do not give that: they come from other places than truths, or are met more seldom, or
lie on both sides of the truth in whatever they are near in.

The price: ``n`` items show ``n`` different choices, where it could be ``choices`` times as many; a set is of as many
documents, so that it takes that many at least, and one long document gives a set one item; and whoever sees a whole set
at once has its last answer by elimination, which no model that is asked item by item does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from neo_assets.tasks.drawing import keyed

Candidate = TypeVar("Candidate")


def answer_sets(
    draw: Callable[[int], list[Candidate]],
    name: Callable[[Candidate], str],
    length: Callable[[Candidate], int],
    lend: Callable[[Candidate, Candidate], bool],
    *,
    items: int,
    choices: int,
    seed: int,
) -> Iterator[tuple[str, Candidate, list[Candidate], int]]:
    """(id, candidate, candidates whose answers are its choices, its own place among them) of ``items // choices`` sets'
    items, in the order of the ids.

    ``draw(count)`` gives that many candidates, or all there are; as long as some of them find no set, more are drawn.
    The nearest in length make a set, as far as ``lend`` says of every two that each can be a wrong choice of the other.
    The items of a set follow one another, so that the first items of a task (`first` in a suite) are whole sets as
    well, if their number is a multiple of ``choices``.
    """
    wanted = items // choices
    count = wanted * choices
    while True:
        drawn = draw(count)
        sets = _neighbours(sorted(drawn, key=lambda c: (length(c), name(c))), lend, choices)
        if len(sets) >= wanted or len(drawn) < count:
            break
        count += choices * (wanted - len(sets))
    shown = {
        keyed(seed, "set", *sorted(name(c) for c in members)): sorted(
            members, key=lambda c: keyed(seed, "position", name(c))
        )
        for members in sets
    }
    for whole in sorted(shown)[:wanted]:
        yield from (
            (f"{whole}-{place}", candidate, shown[whole], place) for place, candidate in enumerate(shown[whole])
        )


def _neighbours(
    candidates: list[Candidate], lend: Callable[[Candidate, Candidate], bool], choices: int
) -> list[list[Candidate]]:
    """Each candidate with the next in line that lend each other; without those behind which there are too few."""
    sets = []
    while len(candidates) >= choices:
        members: list[Candidate] = []
        passed: list[Candidate] = []
        for candidate in candidates:
            fits = len(members) < choices and all(lend(candidate, member) for member in members)
            (members if fits else passed).append(candidate)
        if len(members) == choices:
            sets.append(members)
            candidates = passed
        else:
            candidates = candidates[1:]
    return sets
