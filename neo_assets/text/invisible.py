"""Characters that nobody sees: taken out where they mean nothing, kept where a script or an emoji needs them.

Soft hyphens, zero-width spaces and joiners, marks of direction and tags come with text that was copied from pages and
documents. Left in, they make two copies of one text different, break words for a tokenizer, and can carry words that no
reader sees (tags spell ASCII). What they mean depends on their neighbours (Unicode core specification, 23.2, 23.4,
23.9): a zero-width space separates words in Thai, a joiner shapes Persian and Indic letters and ties emoji together,
and marks of direction order a line that has letters written from the right.
"""

from __future__ import annotations

import re

_ANY = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e01ef]")

_NEVER = "\u00ad\u180e\u2060-\u2064\u206a-\u206f"
_NO_SPACES = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u1a20-\u1aaf\uaa60-\uaa7f"
"""Thai, Lao, Tibetan, Myanmar, Khmer and their like: a zero-width space stands between words."""
_JOINING = "\u0600-\u08ff\u0900-\u0dff\ufb50-\ufdff\ufe70-\ufefc\u1800-\u18af" + _NO_SPACES
"""Arabic, Syriac, Mongolian and the scripts of India: joiners change the shape of letters."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_HAN = "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_VARIED = f"{_EMOJI}{_HAN}{_JOINING}0-9#*\u2200-\u22ff\ua840-\ua87f"
"""What a variation selector may follow: emoji and keycaps, ideographs, symbols, and scripts with variants."""

_MEANINGLESS = re.compile(
    f"[{_NEVER}]"
    f"|(?<![{_NO_SPACES}])\u200b(?![{_NO_SPACES}])"
    f"|(?<![{_JOINING}])\u200c(?![{_JOINING}])"
    f"|(?<![{_JOINING}{_EMOJI}\ufe0f\U000e007f])\u200d"
    f"|\u200d(?![{_JOINING}{_EMOJI}])(?<![{_JOINING}]\u200d)"
    f"|(?<![{_VARIED}])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]+"
)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
_TAGS = re.compile("[\U000e0000-\U000e007f]+")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def without_invisible(text: str) -> str:
    """``text`` without characters that are not seen and mean nothing where they stand."""
    if text.isascii() or not _ANY.search(text):
        return text
    text = _MEANINGLESS.sub("", text)
    if _TAGS.search(text):  # a flag's tags spell its region and end; others spell what nobody is to see
        held = _FLAG.findall(text)
        text = _TAGS.sub("", _FLAG.sub("\ue000\ue001", text))
        for flag in held:
            text = text.replace("\ue000\ue001", flag, 1)
    if _DIRECTION.search(text):
        text = "\n".join(line if _RIGHT_TO_LEFT.search(line) else _DIRECTION.sub("", line) for line in text.split("\n"))
    return text
