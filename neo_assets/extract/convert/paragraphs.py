"""From lines to text: lines of one paragraph joined, hyphens of line ends resolved, everything else on lines of its
own.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from neo_assets.extract.convert.page_layout import Line
from neo_assets.extract.convert.words import BULLET, HYPHEN, is_ideograph

FULL_LINE = 0.82
"""A line that reaches this share of its column's width may go on in the next."""
LEADING = 1.35
"""Lines farther apart than this many of the usual distances are not one paragraph."""
SAME_SIZE = 1.18

_LINE_END_HYPHEN = re.compile(rf"([^\W\d_]+)[-\u2010{HYPHEN}]$")
_ADDRESS_BREAK = re.compile(r"[/._=#?&]-$")
"""A dash after such a mark is put by a typesetter where it breaks an address."""
_NAME_BREAK = re.compile(r"[^\s]*[/_\d][^\s]*\.$")
"""A file's name that is broken after a full stop."""
CONTENTS = re.compile(r"(?:\.[ \u00a0]?){5,}\s*(?:\d+|[ivxlc]+)$|…{2,}\s*\d+$")
"""How an entry of a table of contents ends."""
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE_END = tuple(".!?。！？:：;；…”\"')）]】」』>")
_MATH = re.compile(
    r"[\u2200-\u22ff\u2a00-\u2aff\u27c0-\u27ef\U0001d400-\U0001d7ff∑∏∫√≤≥≠≈±×÷∂∇∈∉⊂⊆∪∩∀∃→⇒⇔∞αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ=+^_]"
)
FORMULA = "[formula]"
"""What stands for a formula that is set apart: its parts, one above another, are no line of text."""
FORMULA_SHARE = 0.25


@dataclass
class Text:
    """The text of some lines; ``joined``: hyphens of line ends taken out, ``formulas``: marked as :data:`FORMULA`."""

    lines: list[str] = field(default_factory=list)
    joined: int = 0
    formulas: int = 0
    open: bool = False
    """Whether the last paragraph may go on on the next page."""


def vocabulary(lines: Iterable[str]) -> Counter[str]:
    """Words of a document, also those with hyphens inside, as they stand within lines."""
    words: Counter[str] = Counter()
    for line in lines:
        words.update(word.casefold() for word in _WORD.findall(line))
    return words


def paragraphs(lines: Sequence[Line], words: Counter[str]) -> Text:
    """The text of a page's lines, which are in reading order."""
    out = Text()
    before: Line | None = None
    columns = _columns(lines)
    for line in lines:
        text = line.text
        if not text:
            continue
        if _is_formula(line, columns[line.column]):
            out.formulas += 1
            if not (out.lines and out.lines[-1] == FORMULA):
                out.lines.append(FORMULA)
            before = None
            continue
        if before is not None and out.lines and _goes_on(before, line, columns):
            out.lines[-1], cut = joined(out.lines[-1], text, words)
            out.joined += cut
        else:
            out.lines.append(text)
        before = line
    if before is not None:
        left, right, _ = columns[before.column]
        out.open = before.x1 - left > FULL_LINE * (right - left) and not out.lines[-1].endswith(_SENTENCE_END)
    return out


def joined(left: str, right: str, words: Counter[str]) -> tuple[str, int]:
    """Two lines of one paragraph as one, and whether a hyphen was taken out.

    A hyphen goes when the word without it stands elsewhere in the document, and stays when the word with it does; where
    neither does, it goes if a lower-case letter follows, as printers break words, unless the word has a hyphen already
    or goes on with digits, as names of things do.
    """
    if _ADDRESS_BREAK.search(left):
        return left[:-1] + right, 1
    if _NAME_BREAK.search(left) and right[0].islower():
        return left + right, 0
    found = _LINE_END_HYPHEN.search(left)
    following = _WORD.match(right)
    if found and following and right[0].islower():
        first, second = found[1].casefold(), following[0].casefold()
        whole, kept = words[first + second.partition("-")[0]], words[f"{first}-{second}"]
        marked = left.endswith(HYPHEN)
        begun = left.rpartition(" ")[2]
        in_address = "/" in begun or "_" in begun
        named = "-" in begun[:-1] or right[len(following[0]) : len(following[0]) + 1].isdigit()
        if marked or (not in_address and (whole > 0 or (kept == 0 and not named))):
            return left[:-1] + right, 1
        return left + right, 0
    left = left.replace(HYPHEN, "-") if left.endswith(HYPHEN) else left
    if left.endswith(("-", "/")) and not left.endswith((" -", " /")):
        return left + right, 0
    return left + ("" if is_ideograph(left[-1]) and is_ideograph(right[0]) else " ") + right, 0


def _columns(lines: Sequence[Line]) -> dict[int, tuple[float, float, float]]:
    """(left, right, usual distance of lines) of each column."""
    by_column: dict[int, list[Line]] = {}
    for line in lines:
        by_column.setdefault(line.column, []).append(line)
    out = {}
    for column, held in by_column.items():
        steps = [a.y0 - b.y0 for a, b in itertools.pairwise(held) if a.y0 - b.y0 > 0.5 * b.height]
        leading = min(median(steps), 2.2 * median(line.height for line in held)) if steps else 1.3 * held[0].height
        out[column] = (min(line.x0 for line in held), max(line.x1 for line in held), leading)
    return out


def _goes_on(before: Line, line: Line, columns: dict[int, tuple[float, float, float]]) -> bool:
    ratio = before.height / max(line.height, 1e-6)
    if not 1 / SAME_SIZE < ratio < SAME_SIZE or BULLET.match(line.text) or "\t" in line.text or "\t" in before.text:
        return False
    left, right, leading = columns[before.column]
    width = right - left
    if before.column != line.column:  # from the end of a column to the top of the next
        new_left, *_ = columns[line.column]
        return (
            before.x1 - left > FULL_LINE * width
            and not before.text.endswith(_SENTENCE_END)
            and line.x0 - new_left < line.height
        )
    step = before.y0 - line.y0
    if not 0 < step < LEADING * leading:
        return False
    if _LINE_END_HYPHEN.search(before.text) and line.text[0].islower():
        return True
    # The first line of a paragraph is set in, or the last one ends early.
    indented = line.x0 - before.x0 > 0.8 * line.height and line.x0 - left > 0.8 * line.height
    hangs = line.x0 - before.x0 > 0.8 * line.height and BULLET.match(before.text) is not None
    if indented and not hangs:
        return False
    reach = FULL_LINE if not is_ideograph(before.text[-1]) else max(FULL_LINE, 1 - 2.2 * line.height / max(width, 1))
    return before.x1 - left > reach * width


def _is_formula(line: Line, column: tuple[float, float, float]) -> bool:
    """A line that stands alone, set in, mostly of signs."""
    text = line.text.replace(" ", "").replace("\t", "")
    signs = len(_MATH.findall(text))
    left, right, _ = column
    apart = line.x0 - left > 2 * line.height and line.x1 - line.x0 < 0.9 * (right - left)
    return bool(text) and signs / len(text) > FORMULA_SHARE and signs >= 3 and apart
