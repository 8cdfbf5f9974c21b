"""Each statement of the paper beside what a recipe says and what its artifacts measured, with a verdict.

*same*: the recipe says what the paper says. *changed*: it says otherwise, with the reason that the recipe's own file
gives; one that gives none is told as that. *unknown*: the paper's value is not known. *not run here*: the recipe says
nothing of it, or nothing measured it. *measured*: a result, which two trainings need not share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from neo_assets.core.errors import NeoError
from neo_assets.core.manifest import Manifest
from neo_assets.core.recipe.steps import FIRST, SHIPPED
from neo_assets.core.recipe.written import Written
from neo_assets.core.scalars import is_number, real
from neo_assets.core.words import amount, number
from neo_assets.paper.statements import SOURCES, Also, Chapter, Statement, Value, roles

SAME, CHANGED, UNKNOWN, NOT_RUN, MEASURED = "same", "changed", "unknown in the paper", "not run here", "measured"
VERDICTS = (SAME, CHANGED, UNKNOWN, NOT_RUN, MEASURED)
_SHARE = re.compile(r"(\S+) (.+) of (\S+) (.+)")
_NOTHING = object()


class NotMeasured(NeoError):
    """A statement names a number that an artifact does not have."""


class Evidence(Protocol):
    """Where measured values stand."""

    def manifest(self, key: str) -> tuple[Manifest, str] | None:
        """An artifact's manifest, and the file that it stands in."""

    def score(self, task: str) -> tuple[float, str] | None:
        """A score of the model that the paper is of, between 0 and 1, and the file that it stands in."""


@dataclass(frozen=True)
class Found:
    """A measured value in words, and the file that it stands in."""

    text: str
    file: str


@dataclass(frozen=True)
class Row:
    """A statement compared. ``place``: of the recipe, empty where no recipe says it; ``ours``: what it says there."""

    statement: Statement
    published: str
    verdict: str
    place: str = ""
    ours: str = ""
    written: Written = field(default_factory=Written)
    agrees_with: str = ""
    measured: Found | None = None

    @property
    def unexplained(self) -> bool:
        """Whether the recipe differs from the paper and does not say why."""
        return self.verdict == CHANGED and bool(self.place) and not (self.written.why or self.agrees_with)


def compared(
    chapters: Mapping[str, Chapter],
    recipe: Mapping[str, object],
    written: Callable[[str], Written],
    evidence: Evidence,
) -> dict[str, list[Row]]:
    """Every statement by chapter. ``recipe``: as it is resolved, without paths.

    Raises:
        NotMeasured: for a statement that names a number which its artifact lacks.
    """
    called = roles(recipe)
    return {
        name: [_row(statement, recipe, called, written, evidence) for statement in chapter.statements]
        for name, chapter in chapters.items()
    }


def all_rows(by_chapter: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    for rows in by_chapter.values():
        yield from rows


def places(chapters: Mapping[str, Chapter], recipe: Mapping[str, object]) -> list[str]:
    """Every place of a recipe that a statement is held against."""
    called = roles(recipe)
    told = (place_in(s.recipe, called) for c in chapters.values() for s in c.statements if s.recipe)
    return sorted({place for place in told if place})


def artifacts(chapters: Mapping[str, Chapter], recipe: Mapping[str, object]) -> set[str]:
    """Every artifact that a statement is held against."""
    called = roles(recipe)
    found: set[str] = set()
    for chapter in chapters.values():
        for statement in chapter.statements:
            for key, _ in _named(statement.measured):
                found.add(with_runs(key, called) or "")
    return found - {""}


def place_in(told: str, called: Mapping[str, tuple[str, str]]) -> str | None:
    """A place with the recipe's own names of runs and phases; None where it has no such run."""
    parts = told.split(".")
    for i, part in enumerate(parts):
        if part.startswith("$"):
            if part not in called:
                return None
            parts[i] = called[part][0 if parts[0] == "runs" else 1]
    return ".".join(parts)


def with_runs(key: str, called: Mapping[str, tuple[str, str]]) -> str | None:
    """An artifact's key with the recipe's own names; None where it has no such run."""
    kind, slash, name = key.partition("/")
    if not name.startswith("$"):
        return key
    if name not in called:
        return None
    return f"{kind}{slash}{called[name][1 if kind == 'token_shards' else 0]}"


# ------------------------------------------------------------------ one row


def _row(
    statement: Statement,
    recipe: Mapping[str, object],
    called: Mapping[str, tuple[str, str]],
    written: Callable[[str], Written],
    evidence: Evidence,
) -> Row:
    measured = _measured(statement, called, evidence)
    published = _published(statement)
    place = place_in(statement.recipe, called) if statement.recipe else None
    value = _value(recipe, place) if place else _NOTHING
    if place is None or value is _NOTHING:
        if statement.needs and _value(recipe, statement.needs) is _NOTHING:
            return Row(statement, published, NOT_RUN, measured=measured)
        verdict = _without_recipe(statement, measured)
        return Row(statement, published, verdict, ours=statement.here, measured=measured)
    if value is None and statement.value is not None and not written(place).at.partition(":")[0]:
        return Row(statement, published, NOT_RUN, measured=measured)  # a rule that nobody asked for
    verdict, agrees = _verdict(statement, value)
    return Row(statement, published, verdict, place, in_words(value), written(place), agrees, measured)


def _without_recipe(statement: Statement, measured: Found | None) -> str:
    if statement.source == "unknown":
        return UNKNOWN
    if statement.here:
        return SAME if statement.here.startswith(("the same", in_words(statement.value))) else CHANGED
    return MEASURED if measured else NOT_RUN


def _verdict(statement: Statement, value: object) -> tuple[str, str]:
    """The verdict, and which other source the recipe agrees with, where it is not the first."""
    if statement.source == "unknown":
        return UNKNOWN, ""
    if statement.begins and isinstance(value, list) and isinstance(statement.value, list):
        return (SAME if value[: len(statement.value)] == statement.value else CHANGED), ""
    if _equal(statement.value, value):
        return SAME, ""
    return CHANGED, next((_source(a) for a in statement.also if _equal(a.value, value)), "")


def _source(other: Also) -> str:
    return f"{SOURCES[other.source]} {other.note}" if other.note else SOURCES[other.source]


def _equal(one: object, other: object) -> bool:
    if is_number(one) and is_number(other):
        return math.isclose(real(one), real(other), rel_tol=1e-9)
    return type(one) is type(other) and one == other


def _value(recipe: Mapping[str, object], place: str) -> object:
    """What a recipe says at a place; nothing where it has no such section, or does not take the step that it is of."""
    parts = place.split(".")
    step = FIRST if parts[0] == "clean" else parts[0]
    steps = recipe["steps"]
    assert isinstance(steps, dict)
    of_a_step = parts[0] != "steps" and len(parts) > 1 and step in SHIPPED
    if of_a_step and step not in steps.get(parts[1], []):
        return _NOTHING
    if parts[0] == "convert" and not _has_documents(recipe):
        return _NOTHING
    at: object = recipe
    for part in parts:
        if not isinstance(at, dict) or part not in at:
            return _NOTHING
        at = at[part]
    return at


def _has_documents(recipe: Mapping[str, object]) -> bool:
    sources = recipe["sources"]
    assert isinstance(sources, dict)
    return any(source["kind"] == "books" or source.get("keep_documents") for source in sources.values())


def in_words(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return amount(value) if abs(value) >= 1e12 else number(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _published(statement: Statement) -> str:
    if statement.source == "unknown":
        return "unknown"
    told = statement.said or f"{in_words(statement.value)}{_unit(statement.unit)}"
    for other in statement.also:
        note = f", {other.note}" if other.note else ""
        told += f"; {in_words(other.value)} ({SOURCES[other.source]}{note})"
    return told


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


# ------------------------------------------------------------------ what was measured


def _named(measured: str) -> list[tuple[str, str]]:
    """(artifact, number) of what a statement names; none of a score."""
    if not measured or measured.startswith("score "):
        return []
    if share := _SHARE.fullmatch(measured):
        return [(share[1], share[2]), (share[3], share[4])]
    key, _, name = measured.partition(" ")
    return [(key, name)]


def _measured(statement: Statement, called: Mapping[str, tuple[str, str]], evidence: Evidence) -> Found | None:
    if statement.measured.startswith("score "):
        score = evidence.score(statement.measured.removeprefix("score "))
        return Found(f"{100 * score[0]:.2f} %", score[1]) if score else None
    numbers: list[tuple[Value, str]] = []
    for key, name in _named(statement.measured):
        known = with_runs(key, called)
        made = evidence.manifest(known) if known else None
        if made is None:
            return None
        numbers.append((_number(made[0], name, statement), made[1]))
    if not numbers:
        return None
    value, file = numbers[0]
    if len(numbers) == 2:
        whole = numbers[1][0]
        if not real(whole):
            return None
        return Found(f"{100 * real(value) / real(whole):.1f} % ({in_words(value)} of {in_words(whole)})", file)
    return Found(f"{in_words(value)}{_unit(statement.unit)}", file)


def _number(made: Manifest, name: str, statement: Statement) -> Value:
    value = getattr(made, name) if name in ("rows_in", "rows_kept") else made.numbers.get(name)
    if value is None:
        raise NotMeasured(f"{statement.id}: {made.key} has no number '{name}'; it has {', '.join(made.numbers)}")
    return value
