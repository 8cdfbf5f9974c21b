"""What a step took out of a text and put into it, marked: lines first, then words and characters within them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

CONTEXT = 1
"""Unchanged lines that are shown around a change."""
TAKEN, PUT = ("[-", "-]"), ("{+", "+}")
_PIECE = re.compile(r"\s+|[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+|.", re.DOTALL)
LONGEST = 20_000
"""Characters of a changed stretch that is compared word by word; a longer one is taken out and put in as a whole."""


def marked(before: str, after: str) -> str:
    """The text after a step, with what it took out as ``[-…-]`` and what it put in as ``{+…+}``; unchanged
    stretches are told by their length. "" where nothing changed.
    """
    if before == after:
        return ""
    old, new = before.split("\n"), after.split("\n")
    out: list[str] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            out += _unchanged(old[a:b], first=a == 0, last=b == len(old))
        elif kind == "delete":
            out += [_mark(TAKEN, line) for line in old[a:b]]
        elif kind == "insert":
            out += [_mark(PUT, line) for line in new[c:d]]
        else:
            out.append("".join(_within("\n".join(old[a:b]), "\n".join(new[c:d]))))
    return "\n".join(out)


def _unchanged(lines: Sequence[str], first: bool, last: bool) -> list[str]:
    head, tail = (0 if first else CONTEXT), (0 if last else CONTEXT)
    if len(lines) <= head + tail + 1:
        return list(lines)
    skipped = lines[head : len(lines) - tail]
    told = f"    … {len(skipped):,} lines, {sum(map(len, skipped)):,} characters, unchanged …"
    return [*lines[:head], told, *lines[len(lines) - tail :]]


def _within(old: str, new: str) -> Iterator[str]:
    if len(old) + len(new) > LONGEST:
        yield from (_mark(TAKEN, old), "\n", _mark(PUT, new))
        return
    a, b = _PIECE.findall(old), _PIECE.findall(new)
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            yield "".join(a[i:j])
        else:
            yield _mark(TAKEN, "".join(a[i:j])) + _mark(PUT, "".join(b[k:m]))


def _mark(marks: tuple[str, str], text: str) -> str:
    return f"{marks[0]}{text}{marks[1]}" if text else ""
