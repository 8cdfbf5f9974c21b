"""Cards in which every number has a source: a template that writes one without it does not compile.

A template is Jinja. What it prints has to be :class:`Sourced`, a value with the file that has it, or a
text without any digit; a digit in the template's own words is refused, too. Names that hold digits (licences, formats)
are told as names, and what somebody typed into the recipe as typed, with the recipe as its source.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from neo_assets.core.errors import NeoError
from neo_assets.core.words import number

FILE = Path(__file__)
_OPEN, _CLOSE = "\x02", "\x03"
_SOURCED = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}")


class NotTraced(NeoError):
    """A card holds a number that no artifact has."""


@dataclass(frozen=True)
class Sourced:
    """A value, and the file that it stands in; empty for a name that is no claim."""

    value: object
    file: str

    def __str__(self) -> str:
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            return number(self.value)
        return str(self.value)

    @property
    def bare(self) -> Sourced:
        """Without a link, for YAML: a reader of it cannot take one."""
        return Sourced(_Bare(str(self)), self.file)


class _Bare(str):
    """What is written without a link."""


def name(text: str) -> Sourced:
    """A name that holds digits, as of a licence or a format."""
    return Sourced(_Bare(text), "")


def compiled(template: Path, values: Mapping[str, object], card: str) -> str:
    """A card, to lie at ``card``; its links lead to files from there.

    Raises:
        NotTraced: for what it prints without a source, or says in its own words with a digit in it.
        UndefinedError: for a name that it uses and ``values`` lacks.
    """

    def shown(value: object) -> str:
        if isinstance(value, Sourced):
            text = str(value).replace(_OPEN, "").replace(_CLOSE, "")
            if value.file and not isinstance(value.value, _Bare):
                text = f"[{text}]({posixpath.relpath(value.file, posixpath.dirname(card))})"
            return f"{_OPEN}{text}{_CLOSE}"
        if any(c.isdigit() for c in str(value)):
            raise NotTraced(f"{card} prints {str(value)[:80]!r}, which has no source")
        return str(value)

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        autoescape=False,
    )
    text = environment.get_template(template.name).render({**values, "name": name})
    for line in text.splitlines():
        if digit := re.search(r"\d", _SOURCED.sub("", line)):
            said = _SOURCED.sub("…", line).strip()
            raise NotTraced(f"{card} says {digit[0]!r} of its own, with no source: {said[:120]!r}")
    return text.replace(_OPEN, "").replace(_CLOSE, "")
