"""Where a site has no end: session ids, calendars, links that grow at every step.

Nothing is known of a site beforehand; what is asked tells. A *query name* whose values change nothing (the same page,
the same words) is left alone after a few tries, and so is a *form* of URLs (digits in the path made one, names of the
query kept) whose pages mostly repeat each other. A form may have more at once the more new text it gave, so that a site
of a million numbered articles is read. All of it is settled between batches and follows URL order: the same site gives
the same crawl.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlsplit

import xxhash

from neo_assets.core.recipe.sources import TrapBudget

NOW, LATER = "", "later"
"""Answers of :meth:`Traps.admit` besides a refusal in words."""

_NUMBER = re.compile(r"[0-9a-f]{8,}|\d+", re.IGNORECASE)
_PATH_PARAMETER = re.compile(r";(\w+)=([^;/]*)")


@dataclass(slots=True)
class _Name:
    trials: int = 0
    same: int = 0
    under_way: int = 0


@dataclass(slots=True)
class _Form:
    new: int = 0
    repeats: int = 0
    under_way: int = 0


class Traps:
    """What a crawl has learnt of the traps of its sites."""

    def __init__(self, budget: TrapBudget) -> None:
        self._budget = budget
        self._names: dict[tuple[str, str], _Name] = defaultdict(_Name)
        self._forms: dict[str, _Form] = defaultdict(_Form)
        self._asked: set[int] = set()  # pages with one name of their query left out
        self._text_of: dict[int, int] = {}
        self._texts: set[int] = set()

    def admit(self, url: str) -> str:
        """Whether a canonical URL is asked for: now, later (when what is under way is settled), or not, and why."""
        budget = self._budget
        if len(url) > budget.max_url_chars:
            return f"{len(url):,} characters long; max_url_chars is {budget.max_url_chars:,}"
        parts = urlsplit(url)
        steps = [step for step in parts.path.split("/") if step]
        for step in set(steps):
            if (times := steps.count(step)) > (most := budget.max_same_steps):
                return f"'{step[:60]}' stands {times} times in its path; max_same_steps is {most}"
        form = self._forms[name := form_of(url)]
        if form.repeats - form.new >= budget.patience:
            return f"of {form.new + form.repeats} pages of the form {name[:120]} only {form.new} had text of their own"
        probes: list[_Name] = []
        keys = _without_each(url)
        for query_name, rest in keys:
            told = self._names[parts.netloc, query_name]
            known = rest in self._asked or _hash(query_name + chr(0)) ^ rest in self._asked
            if known and told.trials >= budget.tries and told.same >= budget.same_share * told.trials:
                return (
                    f"'{query_name}' changes nothing here: {told.same} of {told.trials} pages had the same text with"
                    " another value of it"
                )
            if known and told.trials < budget.tries:
                if told.under_way >= budget.tries:
                    return LATER
                probes.append(told)
        if form.under_way >= max(budget.patience, 2 * form.new):
            return LATER
        for told in probes:
            told.under_way += 1
        form.under_way += 1
        self._asked.add(_hash(url))
        self._asked.update(_hash(query_name + chr(0)) ^ rest for query_name, rest in keys)
        return NOW

    def settled(self) -> None:
        """All that was under way is settled."""
        for name in self._names.values():
            name.under_way = 0
        for form in self._forms.values():
            form.under_way = 0

    def seen(self, url: str, text: int) -> None:
        """Note the text of a page that was fetched."""
        form = self._forms[form_of(url)]
        if text in self._texts:
            form.repeats += 1
        else:
            form.new += 1
            self._texts.add(text)
        self._text_of[_hash(url)] = text
        host = urlsplit(url).netloc
        for query_name, rest in _without_each(url):
            key = _hash(query_name + chr(0)) ^ rest
            before = self._text_of.get(rest, self._text_of.get(key))
            if before is not None:
                told = self._names[host, query_name]
                told.trials += 1
                told.same += before == text
            self._text_of.setdefault(key, text)


def form_of(url: str) -> str:
    """The form of a URL: numbers of its path as ``#``, values of its query left out."""
    parts = urlsplit(url)
    names = sorted({pair.partition("=")[0] for pair in parts.query.split("&") if pair})
    path = _NUMBER.sub("#", _PATH_PARAMETER.sub(r";\1", parts.path))
    return f"{parts.netloc}{path}" + (f"?{'&'.join(names)}" if names else "")


def _without_each(url: str) -> list[tuple[str, int]]:
    """(name, hash of the URL without it) for every name of the query, and of the path's own parameters."""
    bare, mark, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    out = []
    for name in sorted({pair.partition("=")[0] for pair in pairs}):
        rest = "&".join(pair for pair in pairs if pair.partition("=")[0] != name)
        out.append((name, _hash(bare + ("?" + rest if rest else ""))))
    if len(out) > 1:  # a session id beside a time: neither alone is ever the same
        out.append(("&".join(name for name, _ in out), _hash(bare)))
    for found in _PATH_PARAMETER.finditer(bare):
        out.append((f";{found[1]}", _hash(bare[: found.start()] + bare[found.end() :] + mark + query)))
    return out


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "replace"))
