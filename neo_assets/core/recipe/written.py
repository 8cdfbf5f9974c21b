"""Where a recipe says something, and why: file and line of a field, and the comment that stands there.

A value that is not the paper's says so in its comment ("ours: small models take more"), on its own line or on that of a
section around it in the same file. A comment that only names a source ("paper", "G8"), and the word alone ("ours"), are
no reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML has it: six times as fast."""
_OURS = re.compile(r"(?<!not )\bours\b\W+\w", re.IGNORECASE)


@dataclass(frozen=True)
class Written:
    """``at``: file and line, empty for what no file says; ``comment``: behind it; ``why``: the comment that says why it
    is not as in the paper, there or at the section ``of``, empty where it is the field's own.
    """

    at: str = ""
    comment: str = ""
    why: str = ""
    of: str = ""


@dataclass(frozen=True)
class WrittenIn:
    """The files of a recipe: ``lines`` has file and line of every place, ``files`` the files by name. They are read for
    their comments when somebody asks.
    """

    lines: Mapping[tuple[str | int, ...], str]
    files: Mapping[str, Path]

    def at(self, place: str) -> Written:
        """What stands at a place, named like ``runs.main.steps``; nothing where no file says it."""
        return self._places.get(place, Written())

    @cached_property
    def _places(self) -> dict[str, Written]:
        said = {f"{name}:{n}": told for name, path in self.files.items() for n, told in _by_line(path).items()}
        return {".".join(map(str, place)): Written(at, *said.get(at, ("", "", ""))) for place, at in self.lines.items()}


def _by_line(path: Path) -> dict[int, tuple[str, str, str]]:
    """By line of a file: the comment there, the reason that holds there, and the section that gives it."""
    text = path.read_text(encoding="utf-8")
    comments = _comments(text)
    found: dict[int, tuple[str, str, str]] = {}

    def walk(node: yaml.Node | None, why: str, of: str) -> None:
        if isinstance(node, yaml.SequenceNode):
            for child in node.value:
                walk(child, why, of)
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            line = key.start_mark.line + 1
            own = comments.get(line, "")
            reason, section = (own, "") if _OURS.search(own) else (why, of)
            # Several fields of one line have one comment, and the line of a section is the section's.
            found.setdefault(line, (own, reason, section))
            walk(value, reason, section or str(key.value) if reason else "")

    walk(yaml.compose(text, Loader=LOADER), "", "")
    return found


def _comments(text: str) -> dict[int, str]:
    """By line: the comment behind what stands on it."""
    end: dict[int, int] = {}
    inside: set[int] = set()
    for token in yaml.scan(text, Loader=LOADER):
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
