"""Where a recipe says something, and why: file and line of a field, and the comment that stands there.

A value that is not the paper's says so in its comment ("ours: small models take more"), on its own line or on that of
the section it stands in; a section's comment is a reason only where it says "ours", too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

_OURS = re.compile(r"\bours?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Written:
    """``at``: file and line, empty for what no file says; ``comment``: behind it; ``why``: the comment that says why it
    is not as in the paper, there or at a section around it.
    """

    at: str = ""
    comment: str = ""
    why: str = ""


def written_in(lines: Mapping[tuple[str | int, ...], str], files: Mapping[str, Path]) -> dict[str, Written]:
    """Every place of a recipe by its name, ``runs.main.steps``; ``lines`` has file and line of each, ``files`` the
    files.
    """
    comments = {f"{name}:{n}": text for name, path in files.items() for n, text in _comments(path).items()}
    out: dict[str, Written] = {}
    for place in sorted(lines, key=len):  # sections before what is in them
        own = comments.get(lines[place], "")
        around = out.get(".".join(map(str, place[:-1])), Written())
        # What another file says of the section is said of that file's values.
        same_file = around.at.partition(":")[0] == lines[place].partition(":")[0]
        why = own if _OURS.search(own) else around.why if same_file else ""
        out[".".join(map(str, place))] = Written(lines[place], own, why)
    return out


def _comments(path: Path) -> dict[int, str]:
    """By line: the comment behind what stands on it."""
    text = path.read_text(encoding="utf-8")
    end: dict[int, int] = {}
    inside: set[int] = set()
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if token.start_mark.line == token.end_mark.line and token.end_mark.column > token.start_mark.column:
            line = token.end_mark.line
            end[line] = max(end.get(line, 0), token.end_mark.column)
        elif isinstance(token, yaml.ScalarToken):
            inside |= set(range(token.start_mark.line, token.end_mark.line + 1))
    found: dict[int, str] = {}
    for number, line in enumerate(text.splitlines()):
        behind = line[end[number] :].strip() if number in end and number not in inside else ""
        if behind.startswith("#"):
            found[number + 1] = behind.lstrip("# ")
    return found
