"""The text layer of a PDF page: letters with their boxes, as pdfium reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium  # type: ignore[import-untyped]
import pypdfium2.raw as raw  # type: ignore[import-untyped]

from neo_assets.extract.convert.page_layout import Run

SPACE_GAP = 0.1
"""A space that the reader put between letters nearer to each other than this is none."""
JOIN_GAP = 0.5
"""Letters nearer to each other than this many heights are one run."""
_CLOSING, _OPENING = frozenset("。，、；：！？．）》〉」』】〕”’"), frozenset("（《〈「『【〔“‘")
FULL_WIDTH = 0.75
"""Such a mark that is as wide as this many heights is white in its second, or first, half."""
MARK_JOIN_GAP = 0.25
"""As ``JOIN_GAP``, where that half is between: it may be the white between two columns."""

_BROKEN = re.compile(r"[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]|\(cid:\d+\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b]")


@dataclass
class TextLayer:
    """``runs``: pieces of text; ``stream``: the text in the order in which the file draws it; ``broken``: share of
    characters that cannot be what was meant.
    """

    runs: list[Run]
    stream: str
    broken: float
    height: float


def text_layer(page: pdfium.PdfPage) -> TextLayer:
    """The text layer of a page, turned as the page is looked at."""
    width, height = page.get_size()
    text_page = page.get_textpage()
    try:
        count = text_page.count_chars()
        text = text_page.get_text_range() if count > 0 else ""
        if len(text) != count:  # characters beyond the first plane
            text = "".join(map(_character, (raw.FPDFText_GetUnicode(text_page.raw, i) for i in range(count))))
        boxes = (raw.FS_RECTF * max(count, 1))()
        for i in range(count):
            raw.FPDFText_GetLooseCharBox(text_page.raw, i, boxes[i])
        places = np.frombuffer(boxes, np.float32).reshape(-1, 4)[:count].astype(np.float64)
    finally:
        text_page.close()
    places = _turned(places, page.get_rotation(), width, height)
    visible = [c for c in text if not c.isspace()]
    broken = sum(len(found) for found in _BROKEN.findall("".join(visible)))
    return TextLayer(_runs(text, places), text, broken / max(1, len(visible)), height)


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"


def _turned(places: npt.NDArray[np.float64], rotation: int, width: float, height: float) -> npt.NDArray[np.float64]:
    """(left, bottom, right, top) of boxes that pdfium gives as left, top, right, bottom of the page as it is stored."""
    left, top, right, bottom = places.T if len(places) else np.zeros((4, 0))
    low, high = np.minimum(top, bottom), np.maximum(top, bottom)
    if rotation == 90:
        return np.stack([low, height - right, high, height - left], axis=1)
    if rotation == 180:
        return np.stack([width - right, height - high, width - left, height - low], axis=1)
    if rotation == 270:
        return np.stack([width - high, left, width - low, right], axis=1)
    return np.stack([left, low, right, high], axis=1)


def _runs(text: str, places: npt.NDArray[np.float64]) -> list[Run]:
    """Letters that stand beside each other, as runs."""
    runs: list[Run] = []
    held: Run | None = None
    space = False
    last, last_width = "", 0.0
    for character, (x0, y0, x1, y1) in zip(text, places.tolist(), strict=True):
        if character in "\r\n" or character.isspace():
            space = True
            continue
        if character in "\x02\ufffe":
            character = "-"  # at the end of a line; whether it breaks a word is told by the words
        elif _CONTROL.match(character):
            continue
        height = y1 - y0
        if height <= 0 or x1 < x0:
            continue
        if held is not None and height < 0.35 * held.height and held.y0 <= y0 <= held.y1:
            y0, y1, height = held.y0, held.y1, held.height  # a dash, whose box is as thin as it is
        if held is not None and abs(y0 - held.y0) < 0.5 * height and 0.82 < height / held.height < 1.22:
            gap = x0 - held.x1
            white = (last in _CLOSING and last_width > FULL_WIDTH * height) or (
                character in _OPENING and x1 - x0 > FULL_WIDTH * height
            )
            if -1.5 * height < gap < (MARK_JOIN_GAP if white else JOIN_GAP) * height and x0 >= held.x0:
                if abs(x0 - held.x0) < 0.08 * height and held.text.endswith(character):
                    continue  # drawn twice, to look bold
                held.text += (" " if space and gap > SPACE_GAP * height else "") + character
                held.x1, held.y1 = max(held.x1, x1), max(held.y1, y1)
                held.y0 = min(held.y0, y0)
                space, last, last_width = False, character, x1 - x0
                continue
        held = Run(x0, y0, x1, y1, character)
        runs.append(held)
        space, last, last_width = False, character, x1 - x0
    return [run for run in runs if run.text.strip()]
