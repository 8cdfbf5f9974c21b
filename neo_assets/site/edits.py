"""What a step changed in a text, so that a page can show it: places, and what stands there instead."""

from __future__ import annotations

import difflib
import re

Edit = tuple[int, int, str]
"""From, to (of the text before, in UTF-16 units, as a page counts) and what is there after."""
_PIECES = re.compile(r"\w+|\s+|.", re.DOTALL)
_MOST_PIECES = 4000


def edits(before: str, after: str) -> list[Edit]:
    """Changes from one text to another, in order: whole lines first, then what differs within them."""
    found: list[tuple[int, int, str]] = []
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    a, b = _starts(old), _starts(new)
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            found += _within(before[a[i1] : a[i2]], after[b[j1] : b[j2]], a[i1])
    return _in_utf16(before, found)


def _starts(lines: list[str]) -> list[int]:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return starts


def _within(old: str, new: str, at: int) -> list[tuple[int, int, str]]:
    same = _alike(old, new)
    old, new, at = old[same:], new[same:], at + same
    tail = _alike(old[::-1], new[::-1])
    old, new = old[: len(old) - tail], new[: len(new) - tail]
    a, b = _PIECES.findall(old), _PIECES.findall(new)
    if not a or not b or len(a) + len(b) > _MOST_PIECES:
        return [(at, at + len(old), new)] if old or new else []
    starts, found = _starts(a), []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag != "equal":
            found.append((at + starts[i1], at + starts[i2], "".join(b[j1:j2])))
    return found


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _in_utf16(text: str, found: list[tuple[int, int, str]]) -> list[Edit]:
    if text.isascii() or max(text) <= "\uffff":
        return found
    out, at, units = [], 0, 0
    for begin, end, instead in found:
        units += _units(text[at:begin])
        first, units = units, units + _units(text[begin:end])
        at = end
        out.append((first, units, instead))
    return out


def _units(text: str) -> int:
    return len(text) + sum(c > "\uffff" for c in text)


def applied(text: str, changes: list[Edit]) -> str:
    """A text with its changes made, as the page makes them."""
    units = text.encode("utf-16-le")
    out, at = [], 0
    for begin, end, instead in changes:
        out += [units[2 * at : 2 * begin], instead.encode("utf-16-le")]
        at = end
    return b"".join([*out, units[2 * at :]]).decode("utf-16-le")
