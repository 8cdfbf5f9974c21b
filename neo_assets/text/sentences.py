"""Sentences: they end at ``. ! ?`` before white space and no lower-case letter, or at ``。！？`` anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSERS = "\"'”’»)\\]」』）》"
_END_LATIN = re.compile(rf"[.!?]+[{_CLOSERS}]*(?=\s|$)")
_END_HAN = re.compile(rf"[。！？!?]+[{_CLOSERS}]*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-Za-z]|[A-Za-z]\.[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|cf|Fig|No|Vol|pp|al|approx|Inc|Ltd|Jr|Sr)\.$"
)
_WITHOUT_SPACES = frozenset({"zh", "ja"})


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
